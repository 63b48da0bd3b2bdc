#!/bin/sh
# The binary interface of the headers is that of the stored baseline, or has grown as it may: new functions, new enumerators,
# fields at the end of structs that carry their size. The check itself is tried on changes that break programs.
#   check_abi.sh <source tree>            compare
#   check_abi.sh <source tree> --store    store today's interface as the baseline (when a release is made)
set -eu
source=$1
for tool in abidw abidiff python3 gcc; do
  command -v $tool >/dev/null || { echo "$tool is not installed"; exit 77; }
done
version=$(sed -n 's/^TESSERA_\([0-9.]*\) {.*/\1/p' "$source/capi/tessera.map")
baseline=$source/capi/abi/tessera-$version
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PYTHONDONTWRITEBYTECODE=1

describe() { # include folder, map, name: writes the library name.so and the layout name.layout
  python3 "$source/capi/stub.py" functions "$1" >"$work/stub.c"
  python3 "$source/capi/stub.py" layout "$1" >"$work/layout.c"
  (cd "$work" && gcc -g -O0 -shared -fPIC -w -I "$1" -Wl,--version-script="$2" -Wl,-soname,libtessera.so."$version" \
    -fdebug-prefix-map="$work"=. -o "$3.so" stub.c && gcc -w -I "$1" -o layout layout.c && ./layout >"$3.layout")
}
compare() { # name: fits when no line of the layout is gone and abidiff sees nothing but new functions
  ! grep -vxF -f "$work/$1.layout" "$baseline.layout" >"$work/report" &&
    abidiff --no-added-syms --suppressions "$source/capi/tessera.abignore" "$baseline.abi" "$work/$1.so" >"$work/report" 2>&1
}

describe "$source/capi/include" "$source/capi/tessera.map" now
if [ "${2:-}" = --store ]; then
  mkdir -p "$source/capi/abi"
  cp "$work/now.layout" "$baseline.layout"
  abidw --no-comp-dir-path --no-corpus-path --no-show-locs --out-file "$baseline.abi" "$work/now.so"
  exit 0
fi
[ -f "$baseline.abi" ] || { echo "no baseline $baseline.abi: store one with --store"; exit 1; }
compare now || { cat "$work/report"; echo "programs built against tessera $version would break"; exit 1; }

tried=0
seeded() { # <breaks|fits> <what> <header> <sed script> [<map>]
  rm -rf "$work/include"
  cp -r "$source/capi/include" "$work/include"
  sed -i "$4" "$work/include/tessera/$3"
  describe "$work/include" "${5:-$source/capi/tessera.map}" seeded
  result=fits
  compare seeded || result=breaks
  [ $result = "$1" ] || { cat "$work/report"; echo "$2: $result, but $1 was expected"; exit 1; }
  tried=$((tried + 1))
}
seeded breaks "a field in the middle" mesh.h 's|^    int64_t tp; .*|    int64_t extra;\n&|'
seeded fits "a field at the end of options" mesh.h 's|^    int64_t ep; .*|&\n    int64_t extra;|'
seeded breaks "a field at the end of the frozen error" error.h 's|^    char message\[240\];.*|&\n    int64_t extra;|'
seeded breaks "a smaller number" trainer.h 's|^    double loss; .*|    float loss;|'
seeded breaks "a number of another kind" trainer.h 's|^    double loss; .*|    int64_t loss;|'
seeded breaks "another parameter type" pack.h 's|int64_t seed,|int32_t seed,|'
seeded breaks "a handle of another size" types.h 's|tessera_mesh { uint64_t id; }|tessera_mesh { uint64_t id, more; }|'
sed 's/^ *tessera_plan_get_text;//' "$source/capi/tessera.map" >"$work/fewer.map"
seeded breaks "a function less" plan.h '' "$work/fewer.map"
sed 's/^ *tessera_plan_get_text;/&\n    tessera_plan_more;/' "$source/capi/tessera.map" >"$work/more.map"
seeded fits "a function more" plan.h \
  '/^TESSERA_API tessera_status tessera_plan_get_text/i TESSERA_API int32_t tessera_plan_more(int32_t plan);\n/** */' "$work/more.map"
echo "the interface is that of tessera $version; $tried seeded changes were told apart"
