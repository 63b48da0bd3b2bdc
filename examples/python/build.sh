#!/bin/sh
# Writes OUT/train, which runs the example with the library in BUILD_DIR. Exit status 77: no Python.
# usage: build.sh BUILD_DIR OUT
set -eu
build=$(realpath "$1")
out=$(realpath "$2")
cd "$(dirname "$0")"
command -v python3 >/dev/null || { echo "python3 is not installed"; exit 77; }
cat >"$out/train" <<SH
#!/bin/sh
export TESSERA_LIBRARY="$build/lib/libtessera.so" PYTHONPATH="$(realpath ../../bindings/python)" PYTHONDONTWRITEBYTECODE=1
exec python3 "$PWD/train.py" "\$@"
SH
chmod +x "$out/train"
