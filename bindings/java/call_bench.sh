#!/usr/bin/env bash
# What a call costs: call_bench.sh BUILD_DIR prints "java EMPTY RANK", nanoseconds of an empty native call and of World.rank().
set -euo pipefail
build=$(realpath "$1")
cd "$(dirname "$0")"
./build_jar.sh "$build"
exec java -Dtessera.library.path="$build/lib" -cp "$build/bindings/java/tessera-0.1.0.jar" ../../tests/bench/call/Call.java
