# Sourced from bindings/julia or examples/julia with `build` set: finds Julia, or puts one into the build folder, and lets
# Tessera.jl find the library in that folder. Exits with 77 when there is no Julia.
root=$(cd ../.. && pwd)
julia=$(command -v julia || true)
if [ -z "$julia" ]; then
  julia=$build/julia/usr/bin/julia
  [ -x "$julia" ] || flock "$build" "$root/cmake/install_julia.sh" "$build/julia" ||
    { echo "julia is not installed, and cmake/install_julia.sh cannot install it here"; exit 77; }
fi
# A depot of its own: the user's is left alone.
export TESSERA_LIBRARY="$build/lib/libtessera.so" JULIA_LOAD_PATH="$root/bindings/julia:@stdlib" JULIA_DEPOT_PATH="$build/julia_depot"
