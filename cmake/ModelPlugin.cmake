# tessera_add_model_plugin(<name> <source>...): a shared library with architectures of one's own (impl/models/plugin.h). It
# carries its own copy of what it uses of Tessera, because libtessera.so exports the C interface only.
function(tessera_add_model_plugin name)
  add_library(${name} MODULE ${ARGN})
  set_target_properties(${name} PROPERTIES PREFIX "")
  target_link_libraries(${name} PRIVATE tessera_impl)
  target_link_options(${name} PRIVATE LINKER:--exclude-libs,ALL)
endfunction()
