# The static library of impl/data/text_rs (tokenizers and chat templates), built by cargo into the build folder.
# Defines tessera::text_rs; with TESSERA_TOKENIZERS=OFF the functions are there and report that they are not built.

option(TESSERA_TOKENIZERS "Tokenizers and chat templates inside the library (needs cargo)" ON)

add_library(tessera_text_rs INTERFACE)
add_library(tessera::text_rs ALIAS tessera_text_rs)
target_compile_definitions(tessera_text_rs INTERFACE TESSERA_TOKENIZERS=$<BOOL:${TESSERA_TOKENIZERS}>)

if(TESSERA_TOKENIZERS)
  find_program(TESSERA_CARGO cargo HINTS "$ENV{CARGO_HOME}/bin" "$ENV{HOME}/.cargo/bin")
  if(NOT TESSERA_CARGO)
    message(FATAL_ERROR
      "cargo not found: tokenizers and chat templates are a Rust static library (Rust 1.82 or newer). Install Rust, set "
      "TESSERA_CARGO to cargo, or configure with -DTESSERA_TOKENIZERS=OFF to build without them.")
  endif()

  set(_source ${PROJECT_SOURCE_DIR}/impl/data/text_rs)
  set(_target ${PROJECT_BINARY_DIR}/text_rs)
  set(_archive ${_target}/release/libtessera_text.a)
  file(GLOB _rust_files CONFIGURE_DEPENDS ${_source}/src/*.rs)
  # Always the release profile: the crates are unusably slow without optimisation. The C compiler is for Oniguruma,
  # and must not inherit the sanitizer flags of the C++ build.
  add_custom_command(
    OUTPUT ${_archive}
    COMMAND ${CMAKE_COMMAND} -E env --unset=CFLAGS --unset=CXXFLAGS --unset=RUSTFLAGS
            CC=${CMAKE_C_COMPILER} CARGO_TARGET_DIR=${_target}
            ${TESSERA_CARGO} build --release --locked --quiet --lib --manifest-path ${_source}/Cargo.toml
    DEPENDS ${_rust_files} ${_source}/Cargo.toml ${_source}/Cargo.lock
    COMMENT "Building tokenizers and chat templates with cargo"
    VERBATIM)
  add_custom_target(tessera_text_archive DEPENDS ${_archive})
  add_dependencies(tessera_text_rs tessera_text_archive)
  # Only our own C functions are reachable, and libtessera exports none of it.
  target_link_libraries(tessera_text_rs INTERFACE ${_archive} Threads::Threads ${CMAKE_DL_LIBS} m)
  target_link_options(tessera_text_rs INTERFACE LINKER:--exclude-libs,libtessera_text.a LINKER:--gc-sections)
endif()
