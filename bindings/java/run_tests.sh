#!/usr/bin/env bash
# Runs the test suite of the Java binding against a build tree: run_tests.sh BUILD_DIR. Exit status 77: a tool is missing,
# or Maven cannot fetch its plugins.
# The first run fetches Maven's plugins and JUnit, later ones need no network.
set -euo pipefail
build=$(realpath "$1")
cd "$(dirname "$0")"
target=$build/bindings/java
export TESSERA_LIBRARY_PATH=$build/lib OMP_NUM_THREADS=1

say() { echo "== $*"; }
maven() { ./build_jar.sh "$build" "$@"; }

say "format, compilation, tests, jar"
output=$(mktemp)
# A registry may fail once; -U asks again for what could not be had before.
for options in "" -U -U; do
  status=0
  maven $options spotless:check package 2>&1 | tee "$output" || status=$?
  [ "$status" -ne 0 ] || break
  [ "$status" -ne 77 ] || exit 77
  grep -qE "No plugin found for prefix|Could not transfer artifact|could not be resolved" "$output" || exit 1
  sleep 5
done
if [ "$status" -ne 0 ]; then
  echo "skipped: Maven cannot fetch its plugins from its repository"
  exit 77
fi
rm "$output"
grep -h "Tests run" "$target"/surefire-reports/*.txt
# -Xcheck:jni writes there what it finds.
if compgen -G "$target/surefire-reports/*dump*" >/dev/null; then
  cat "$target"/surefire-reports/*dump*
  exit 1
fi

newer=
for jdk in /usr/lib/jvm/*; do
  version=$("$jdk/bin/java" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p') || continue
  if [ "${version:-0}" -ge 21 ] && [ ! -L "$jdk" ]; then
    say "virtual threads, on Java $version"
    maven surefire:test -Djvm="$jdk/bin/java" -Dtest=ThreadsTest -DargLine=--enable-native-access=ALL-UNNAMED
    grep -h "Tests run" "$target/surefire-reports/org.tessera.ThreadsTest.txt"
    [ "$version" -ge 22 ] || continue
    say "all tests with foreign functions in the place of JNI, on Java $version"
    newer=$jdk
    JAVA_HOME=$jdk maven -Pforeign package
    grep -h "Tests run" "$build"/bindings/java-foreign/surefire-reports/*.txt
    break
  fi
done
[ -n "$newer" ] || say "no Java 22 or newer: foreign functions are not tried"

say "documentation"
maven javadoc:javadoc

say "the library in the jar, and the library of the system's loader"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
folder=org/tessera/native/linux-$(uname -m)
mkdir -p "$work/$folder"
cp "$target"/tessera-*.jar "$work/bundle.jar"
cp "$build/lib/libtessera.so" "$work/$folder/"
jar --update --file "$work/bundle.jar" -C "$work" "$folder/libtessera.so"
version() { java -cp "$1:$target/test-classes" 'org.tessera.ProcessesTest$Version'; }
expected=$(LD_LIBRARY_PATH=$build/lib TESSERA_LIBRARY_PATH="" version "$target/classes")
[ -n "$expected" ] || exit 1
foreign_version() {
  "$newer/bin/java" --enable-native-access=ALL-UNNAMED -cp "$build/bindings/java-foreign/classes:$target/test-classes" \
    'org.tessera.ProcessesTest$Version'
}
if [ -n "$newer" ]; then
  [ "$(LD_LIBRARY_PATH=$build/lib TESSERA_LIBRARY_PATH="" foreign_version)" = "$expected" ] || exit 1
fi
[ "$(TESSERA_LIBRARY_PATH="" version "$work/bundle.jar")" = "$expected" ] || { echo "the bundled library was not found"; exit 1; }
if TESSERA_LIBRARY_PATH="" LD_LIBRARY_PATH="" version "$target/classes" >"$work/log" 2>&1; then
  echo "a library was found where none is: is one installed?"
else
  grep -q "libtessera was not found; install it" "$work/log" || { cat "$work/log"; exit 1; }
fi
echo "ok"
