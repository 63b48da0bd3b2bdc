#!/usr/bin/env bash
# Builds the jar against a build tree: build_jar.sh BUILD_DIR [Maven arguments] writes BUILD_DIR/bindings/java/tessera-*.jar.
# With -Pforeign among the arguments (Java 22 and newer) it goes to BUILD_DIR/bindings/java-foreign. Exit status 77: a tool is
# missing. The first run fetches Maven's plugins, later ones need no network.
set -euo pipefail
build=$(realpath "$1")
shift
cd "$(dirname "$0")"
for tool in javac mvn swig cc; do
  command -v $tool >/dev/null || { echo "$tool is not installed"; exit 77; }
done
unset TESSERA_DIR
export TESSERA_LIB_DIR=$build/lib TESSERA_INCLUDE_DIR=$PWD/../../capi/include
target=$build/bindings/java
case " $* " in *" -Pforeign "*) target=$build/bindings/java-foreign ;; esac
mkdir -p "$target"
# One build at a time: tests may run side by side.
exec 9>"$target/.lock"
flock 9
run() { mvn --quiet --batch-mode -Dstyle.color=never -Dtessera.target="$target" "$@" 9>&-; }
# Without network first: a mirror that is slow or gone does not matter once all plugins are there.
[ $# -gt 0 ] || set -- package -DskipTests -Dmaven.test.skip=true
if run --offline "$@" >"$target/build.log" 2>&1; then
  exit 0
fi
grep -qiE "offline|No plugin found for prefix" "$target/build.log" || { cat "$target/build.log"; exit 1; }
run "$@"
