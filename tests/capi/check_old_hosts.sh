#!/bin/sh
# Programs that were compiled against other headers of this interface run with today's library: an older one, whose structs are
# smaller, and a newer one, whose structs have a field more. A program that wants a function which this library does not have is
# refused by the loader, by that function's name.
# usage: check_old_hosts.sh <source tree> <libtessera.so>
set -eu
source=$1
library=$2
for tool in cc python3; do
  command -v $tool >/dev/null || { echo "$tool is not installed"; exit 77; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PYTHONDONTWRITEBYTECODE=1 OMP_NUM_THREADS=1
folder=$(dirname "$library")

build() { # include folder, program, flags...
  include=$1
  program=$2
  shift 2
  cc -std=c11 -Wall -Wextra -Werror -I "$include" "$@" "$source/tests/capi/aged_host.c" -L "$folder" -ltessera \
    -Wl,-rpath,"$folder" -Wl,--allow-shlib-undefined -o "$work/$program"
}
python3 "$source/capi/stub.py" older "$source/capi/include" "$work/include.older"
python3 "$source/capi/stub.py" newer "$source/capi/include" "$work/include.newer"
build "$source/capi/include" today
build "$work/include.older" older
build "$work/include.newer" newer -DNEWER
for program in today older newer; do
  "$work/$program" >"$work/$program.txt" || { echo "the $program program failed"; exit 1; }
done
[ "$(wc -l <"$work/today.txt")" = 3 ]
cmp "$work/today.txt" "$work/older.txt"
cmp "$work/today.txt" "$work/newer.txt"

# A library as a newer version would be, to link against, then today's at run time.
node=$(sed -n 's/^\(TESSERA_[0-9.]*\) {.*/\1/p' "$source/capi/tessera.map")
mkdir "$work/lib"
printf '%s { global: tessera_of_a_newer_version; };\n' "$node" >"$work/map"
echo 'int tessera_of_a_newer_version(void) { return 0; }' |
  cc -shared -fPIC -x c - -Wl,-soname,"libtessera.so.${node#TESSERA_}" -Wl,--version-script="$work/map" -o "$work/lib/libtessera.so"
echo 'int tessera_of_a_newer_version(void); int main(void) { return tessera_of_a_newer_version(); }' |
  cc -x c - -L "$work/lib" -ltessera -o "$work/wants_more"
if LD_BIND_NOW=1 LD_LIBRARY_PATH="$folder" "$work/wants_more" 2>"$work/log"; then
  echo "a function that does not exist was called"
  exit 1
fi
grep -q "tessera_of_a_newer_version" "$work/log" || { cat "$work/log"; exit 1; }
echo "programs with older and newer structs computed the same: $(tr '\n' ' ' <"$work/today.txt")"
