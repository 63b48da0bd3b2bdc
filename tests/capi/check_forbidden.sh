#!/bin/sh
# A guest does not end the host's process, print to its stdout, take its signals, change its environment or fork.
# A line that must use one of these words says why after "guest:".
# usage: check_forbidden.sh <source tree>
set -eu
cd "$1"
words='abort|exit|_exit|_Exit|quick_exit|terminate|printf|vprintf|puts|putchar|signal|sigaction|setenv|putenv|unsetenv|clearenv|fork|vfork|system|popen'
# A call by its plain name or through std:: or ::, but not a method or a name of another scope.
pattern="(^|[^A-Za-z0-9_.>:~])(std::|::)?($words)[[:space:]]*\(|std::cout|(^|[^A-Za-z0-9_])stdout([^A-Za-z0-9_]|\$)"
found=$(find impl capi -name '*.cpp' -o -name '*.h' -o -name '*.cu' | sort | while read -r file; do
  sed -e '/guest:/s/.*//' -e 's/"\([^"\\]\|\\.\)*"/""/g' -e 's,//.*,,' -e 's,/\*.*\*/,,' -e 's,/\*.*,,' -e 's,^ \*.*,,' \
    -e 's/void abort(/void declared(/' "$file" |
    grep -nE "$pattern" | sed "s|^|$file:|"
done || true)
if [ -n "$found" ]; then
  echo "$found"
  exit 1
fi
