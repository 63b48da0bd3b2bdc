#!/usr/bin/env bash
# Builds the example against a build tree: build.sh BUILD_DIR OUT writes OUT/train. Exit status 77: a tool is missing.
set -euo pipefail
cd "$(dirname "$0")"
build=$(realpath "$1")
out=$(realpath "$2")
../../bindings/java/build_jar.sh "$build"
jar=$build/bindings/java/tessera-0.1.0.jar
javac -Xlint:all -Werror --release 17 -cp "$jar" -d "$out/classes" Train.java
cat >"$out/train" <<END
#!/bin/sh
exec java -XX:+UseSerialGC -Xmx512m -XX:TieredStopAtLevel=1 -Dtessera.library.path='$build/lib' -cp '$jar:$out/classes' Train "\$@"
END
chmod +x "$out/train"
