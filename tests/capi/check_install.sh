#!/bin/sh
# Installs into an empty prefix, then builds and runs a C program with pkg-config alone, and one with find_package; the C++ layer compiles.
# usage: check_install.sh <cmake> <build folder> <program.c>
set -eu
cmake=$1
build=$2
program=$3
command -v pkg-config >/dev/null || exit 77
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$cmake" --install "$build" --prefix "$work/prefix" >"$work/install.log" || { cat "$work/install.log"; exit 1; }

PKG_CONFIG_PATH=$(dirname "$(find "$work/prefix" -name tessera.pc)")
export PKG_CONFIG_PATH
# shellcheck disable=SC2046
cc -std=c99 -Wall -Wextra -Werror -pedantic "$program" $(pkg-config --cflags --libs tessera) -o "$work/program"
"$work/program" "$(pkg-config --modversion tessera)"
# shellcheck disable=SC2046
echo '#include <tessera/tessera.hpp>' | c++ -std=c++11 -x c++ -fsyntax-only $(pkg-config --cflags tessera) -

mkdir "$work/package"
cat >"$work/package/CMakeLists.txt" <<'CMAKE'
cmake_minimum_required(VERSION 3.25)
project(check C)
find_package(tessera 0.1 REQUIRED)
add_executable(program ${PROGRAM})
target_link_libraries(program PRIVATE tessera::tessera)
CMAKE
"$cmake" -S "$work/package" -B "$work/package/build" -DPROGRAM="$program" -DCMAKE_PREFIX_PATH="$work/prefix" \
  >"$work/package.log" 2>&1 && "$cmake" --build "$work/package/build" >>"$work/package.log" 2>&1 ||
  { cat "$work/package.log"; exit 1; }
"$work/package/build/program" "$(pkg-config --modversion tessera)"
