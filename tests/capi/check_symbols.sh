#!/bin/sh
# The library exports the functions of the headers under their version node, and nothing else.
# usage: check_symbols.sh <libtessera.so> <tessera.map>
set -eu
command -v nm >/dev/null || exit 77
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
node=$(sed -n 's/^\(TESSERA_[0-9.]*\) {.*/\1/p' "$2")
sed -n 's/^ *\(tessera_[a-z0-9_]*\);/\1/p' "$2" | sed "s/\$/@@$node/" | sort >"$work/expected"
nm -D --defined-only "$1" | awk '$2 != "A" { print $3 }' | sort >"$work/exported"
diff "$work/expected" "$work/exported" || { echo "exported symbols differ from the headers (< header, > library)"; exit 1; }
soname=$(readelf -d "$1" | sed -n 's/.*SONAME.*\[\(.*\)\].*/\1/p')
[ "$soname" = "libtessera.so.${node#TESSERA_}" ] || { echo "SONAME $soname does not match $node"; exit 1; }
echo "$(wc -l <"$work/exported") symbols under $node in $soname"
