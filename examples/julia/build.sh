#!/bin/sh
# Writes OUT/train, which runs the example with the library in BUILD_DIR. Exit status 77: no Julia.
# usage: build.sh BUILD_DIR OUT
set -eu
build=$(realpath "$1")
out=$(realpath "$2")
cd "$(dirname "$0")"
. ../../bindings/julia/environment.sh
cat >"$out/train" <<SH
#!/bin/sh
export TESSERA_LIBRARY="$TESSERA_LIBRARY" JULIA_LOAD_PATH="$JULIA_LOAD_PATH" JULIA_DEPOT_PATH="$JULIA_DEPOT_PATH"
exec "$julia" --startup-file=no "$PWD/train.jl" "\$@"
SH
chmod +x "$out/train"
"$julia" --startup-file=no -e 'using Tessera, Printf'  # compiles once
