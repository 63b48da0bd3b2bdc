#!/bin/sh
# Builds the Debian packages (all but that of LibTorch, which is large and not ours) and looks at what is in them; then
# unpacks them, and builds and runs a program from there.
# usage: check_deb.sh <build folder> <folder of LibTorch's libraries> <program.c>
set -eu
build=$1
torch=$2
program=$3
for tool in cpack dpkg-deb dpkg-shlibdeps dpkg-gensymbols pkg-config readelf; do
  command -v $tool >/dev/null || { echo "$tool is not installed"; exit 77; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "$*"; exit 1; }

(cd "$build" && cpack -G DEB -B "$work/packages" -D "CPACK_COMPONENTS_ALL=runtime;development;program") >"$work/log" 2>&1 ||
  { cat "$work/log"; exit 1; }
cd "$work/packages"
for package in *.deb; do dpkg-deb -x "$package" "$work/root"; done
[ "$(ls *.deb | wc -l)" = 3 ] || fail "packages: $(ls)"

library=$(echo libtessera0*.deb)
name=${library%%_*}
# Control data: who owns the symbols, what is needed, and that the loader's cache is renewed.
dpkg-deb -e "$library" "$work/control"
grep -q "^Depends: .*libc6 (>= .*libstdc++6 (>= " "$work/control/control" || fail "no dependencies: $(cat "$work/control/control")"
grep -q "^Depends: .*libtessera-torch (= " "$work/control/control" || fail "no dependency on LibTorch"
ls "$work/control" | grep -q -e triggers -e postinst || fail "ldconfig is not run"
grep -q "^libtessera [0-9.]* $name (>= " "$work/control/shlibs" || fail "no shlibs"
# dpkg-gensymbols compares the file with the library and fails on any symbol that is gone, new, or of another version.
mkdir debian
printf 'Source: tessera\nMaintainer: x <x@x>\n\nPackage: %s\nArchitecture: any\nDescription: x\n' "$name" >debian/control
dpkg-gensymbols -c4 -p"$name" -v"$(dpkg-deb -f "$library" Version)" -I"$work/control/symbols" -Odebian/symbols \
  -e"$(echo "$work"/root/usr/lib/libtessera.so.*.*.*)" >"$work/log" 2>&1 || { cat "$work/log"; fail "symbols differ"; }
# Nothing of the machine that built it: no folder of it in a run path, owner root, no file that others may write.
for file in "$work"/root/usr/lib/libtessera.so.*.*.* "$work"/root/usr/bin/tessera; do
  path=$(readelf -d "$file" | sed -n 's/.*\(RUNPATH\|RPATH\).*\[\(.*\)\]/\2/p')
  case $path in *[!A-Za-z0-9_/.:\$-]* | /* | *:/*) fail "$file has the run path $path" ;; esac
done
for package in *.deb; do
  dpkg-deb -c "$package" | awk '$2 != "root/root" || ($1 !~ /^l/ && substr($1, 9, 1) == "w") { print; bad = 1 } END { exit bad }' ||
    fail "$package: owners or permissions"
  dpkg-deb -I "$package" md5sums >/dev/null || fail "$package has no md5sums"
done

PKG_CONFIG_PATH=$(dirname "$(find "$work/root" -name tessera.pc)")
export PKG_CONFIG_PATH LD_LIBRARY_PATH="$torch"
# shellcheck disable=SC2046
cc -std=c99 "$program" $(pkg-config --cflags --libs tessera) -Wl,--allow-shlib-undefined -o "$work/program"
"$work/program" "$(pkg-config --modversion tessera)"
"$work/root/usr/bin/tessera" --version
ls -l *.deb | awk '{ print $5, $9 }'
