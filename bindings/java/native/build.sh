#!/usr/bin/env bash
# Writes the low layer, run by Maven: build.sh jni JAVA_OUT NATIVE_OUT puts the classes of SWIG and libtessera_jni.so there;
# build.sh foreign JAVA_OUT NATIVE_OUT the same classes without a native library, for Java 22 and newer.
# The C library is found as by the Rust binding: TESSERA_DIR, or TESSERA_LIB_DIR and TESSERA_INCLUDE_DIR, or pkg-config.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
flavour=$1
java_out=$2/org/tessera
native_out=$3/org/tessera/native/linux-$(uname -m)
mkdir -p "$java_out" "$native_out"
command -v swig >/dev/null || { echo "swig is not installed: it writes classes from native/tessera.i" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if [ "$flavour" = foreign ]; then
  # SWIG's classes as they are, but for the one whose methods are native. The headers are those of this source tree.
  swig -java -DSWIGWORDSIZE64 -package org.tessera -I"$here/../../../capi/include" -outdir "$work" -o "$work/unused.c" "$here/tessera.i"
  python3 "$here/../../generate.py" --java "$work/NativeLayer.java"
  cp "$here"/../foreign/org/tessera/*.java "$work/"
  for file in "$work"/*.java; do
    cmp --silent "$file" "$java_out/$(basename "$file")" || cp "$file" "$java_out/"
  done
  exit 0
fi
if [ -n "${TESSERA_DIR:-}" ]; then
  include=$TESSERA_DIR/include
  libs=(-L"$TESSERA_DIR/lib" -L"$TESSERA_DIR/lib64" -L"$TESSERA_DIR/lib/$(uname -m)-linux-gnu" -ltessera)
elif [ -n "${TESSERA_LIB_DIR:-}" ] && [ -n "${TESSERA_INCLUDE_DIR:-}" ]; then
  include=$TESSERA_INCLUDE_DIR
  libs=(-L"$TESSERA_LIB_DIR" -ltessera)
elif pkg-config --exists tessera; then
  include=$(pkg-config --variable=includedir tessera)
  libs=(-L"$(pkg-config --variable=libdir tessera)" -ltessera)
else
  echo "libtessera was not found; install it, or set TESSERA_DIR to where it is installed" >&2
  exit 1
fi
jdk=${JAVA_HOME:-$(dirname "$(dirname "$(readlink -f "$(command -v javac)")")")}

# Nothing to do when neither the interface nor a header is newer than what is there.
library=$native_out/libtessera_jni.so
if [ -e "$library" ] && [ -e "$java_out/Native.java" ] &&
  [ -z "$(find "$here" "$include/tessera" -newer "$library" -type f -print -quit)" ]; then
  exit 0
fi
rm -f "$java_out"/*.java
swig -java -DSWIGWORDSIZE64 -package org.tessera -I"$include" -outdir "$java_out" -o "$work/tessera_wrap.c" "$here/tessera.i"
# SWIG stores pointers in Java longs by type punning. The library is looked for beside this one first.
"${CC:-cc}" -O2 -fPIC -shared -fno-strict-aliasing -Wall -Werror -I"$include" -I"$jdk/include" -I"$jdk/include/linux" \
  "$work/tessera_wrap.c" -o "$library" "${libs[@]}" -Wl,-z,defs -Wl,-rpath,'$ORIGIN'
