#!/bin/sh
# The tests of Tessera.jl against the library in BUILD_DIR. Exit status 77: no Julia.
# usage: run_tests.sh BUILD_DIR
set -eu
build=$(realpath "$1")
cd "$(dirname "$0")"
. ./environment.sh
# On one thread, where ranks are tasks that must let each other run, and on four.
for threads in 1 4; do
  OMP_NUM_THREADS=1 JULIA_NUM_THREADS=$threads "$julia" --startup-file=no --depwarn=error --color=no test/runtests.jl
done
"$julia" --startup-file=no docs.jl --check
"$julia" --startup-file=no docs.jl | grep "^## step!$" >/dev/null
# A library that the system's loader finds by itself must be opened as one that is named by its path, or exceptions in it kill.
LD_LIBRARY_PATH=$build/lib env -u TESSERA_LIBRARY "$julia" --startup-file=no -e '
  using Tessera
  try
      Config()["no.such.key"] = 1
      exit(1)
  catch failure
      failure isa TesseraException || rethrow()
  end'
