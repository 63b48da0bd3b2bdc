# Prints the reference of Tessera.jl as Markdown: julia docs.jl > reference.md, or docs.jl --check, which fails when something
# that is exported has no docstring. Needs no package beside Tessera.
using Tessera

const DOCS = Base.Docs.meta(Tessera)

# The methods of Tessera, as they are called; docstrings that begin with a signature of their own say more.
function signatures(f)
    ours = filter(m -> m.module === Tessera, collect(methods(f)))
    shown = map(m -> match(r"^(.*\))(?: in | @ )"s, sprint(show, m)), ours)
    return unique(replace(m.captures[1], "Tessera." => "") for m in shown
                  if m !== nothing && !occursin(r"CAPI|raw", m.captures[1]))
end

function print_reference()
    println("# Tessera.jl\n\n", Base.Docs.doc(Tessera))
    for binding in sort(collect(keys(DOCS)); by = b -> lowercase(string(b.var)))
        binding.var === :Tessera && continue
        println("\n## ", binding.mod === Tessera ? "" : "$(binding.mod).", binding.var, "\n")
        foreach(line -> println("    ", line), signatures(getfield(binding.mod, binding.var)))
        println()
        for signature in DOCS[binding].order
            println(join(DOCS[binding].docs[signature].text), "\n")
        end
    end
end

function check()
    bare = filter(name -> name !== :Tessera && !haskey(DOCS, Base.Docs.Binding(Tessera, name)), names(Tessera))
    isempty(bare) || error("exported without a docstring: $bare")
end

ARGS == ["--check"] ? check() : print_reference()
