#!/usr/bin/env bash
# What a call costs: call_bench.sh BUILD_DIR prints "java EMPTY RANK", nanoseconds of an empty native call and of World.rank(); and
# with a JDK 22 or newer "java-foreign EMPTY RANK", the same by foreign functions.
set -euo pipefail
build=$(realpath "$1")
cd "$(dirname "$0")"
measure() { # name, java, jar's folder, flags...
  "$2" "${@:4}" -Dtessera.library.path="$build/lib" -cp "$build/bindings/$3/tessera-0.1.0.jar" ../../tests/bench/call/Call.java |
    sed "s/^java/$1/"
}
./build_jar.sh "$build"
measure java java java
for jdk in /usr/lib/jvm/*; do
  version=$("$jdk/bin/java" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p') || continue
  if [ "${version:-0}" -ge 22 ] && [ ! -L "$jdk" ]; then
    JAVA_HOME=$jdk ./build_jar.sh "$build" -Pforeign package -DskipTests -Dmaven.test.skip=true >&2
    measure java-foreign "$jdk/bin/java" java-foreign --enable-native-access=ALL-UNNAMED
    break
  fi
done
