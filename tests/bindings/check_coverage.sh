#!/bin/sh
# Every function of the C interface is reachable from every language: its name occurs in the hand-written layer.
# usage: check_coverage.sh <source tree>
set -eu
cd "$1"
functions=$(sed -n 's/^ *\(tessera_[a-z0-9_]*\);/\1/p' capi/tessera.map)
failed=0
twin=

covers() { # language files...
  language=$1
  shift
  text=$(cat "$@" 2>/dev/null) || return 0
  missing=$(for function in $functions; do
    printf '%s' "$text" | grep -qiwE -- "$function$twin" || echo "$function"
  done)
  [ -z "$missing" ] || { echo "$language lacks:" $missing; failed=1; }
}

covers c++ capi/include/tessera/cpp/*.hpp
covers rust bindings/rust/tessera/src/*.rs
covers go bindings/go/*.go
# These make the names of destroy functions from those of the kinds.
functions=$(echo "$functions" | grep -v _destroy)
covers python bindings/python/tessera/_*.py
# Julia waits by polling: the twin that returns a future stands for both, and no call waits for a future.
twin='(_async)?'
functions=$(echo "$functions" | grep -v '^tessera_future_wait$')
covers julia bindings/julia/src/[!c]*.jl bindings/julia/src/config.jl
# Java waits for all futures at once.
twin=
covers java bindings/java/native/tessera.i bindings/java/src/main/java/org/tessera/*.java
exit $failed
