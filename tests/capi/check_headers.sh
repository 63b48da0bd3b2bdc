#!/bin/sh
# Compiles each public header alone, with every compiler found, with all warnings: those of C and tessera.hpp in every language
# standard, the parts of tessera.hpp in C++11.
# usage: check_headers.sh <include folder>
set -eu
include=$1
warnings="-Wall -Wextra -Werror -pedantic -Wshadow -Wundef"
tried=0

try() { # compiler language standard header
  extra=
  [ "$2" = c ] && extra="-Wstrict-prototypes -Wmissing-prototypes"
  if ! printf '#include "%s"\n#include "%s"\n' "$4" "$4" |
    "$1" -x "$2" "-std=$3" $warnings $extra -I "$include" -fsyntax-only -; then
    echo "FAILED: $1 -std=$3 $4"
    exit 1
  fi
  tried=$((tried + 1))
}

supports() { # compiler language standard
  echo | "$1" -x "$2" "-std=$3" -fsyntax-only - 2>/dev/null
}

headers=$(cd "$include" && ls tessera/*.h)
parts=$(cd "$include" && ls tessera/cpp/*.hpp)
for c in gcc clang clang-14 clang-19; do
  command -v $c >/dev/null || continue
  for standard in c99 c11 c17 c2x; do
    supports $c c $standard || continue
    for header in $headers; do try $c c $standard "$header"; done
  done
done
for cxx in g++ clang++ clang++-14 clang++-19; do
  command -v $cxx >/dev/null || continue
  for standard in c++11 c++14 c++17 c++20 c++2b; do
    supports $cxx c++ $standard || continue
    for header in $headers tessera/tessera.hpp; do try $cxx c++ $standard "$header"; done
  done
  for header in $parts; do try $cxx c++ c++11 "$header"; done
done
[ $tried -gt 0 ] || exit 77
echo "$tried compilations without a warning"
