#!/bin/sh
# What one call costs from each language, in nanoseconds: an empty native call (tessera_abi_version), and the public method that
# checks a handle and reads a rank (tessera_world_get_rank). Each language runs three times in turn; the best counts.
# usage: tests/bench/call_bench.sh BUILD_DIR
set -eu
build=$(realpath "$1")
cd "$(dirname "$0")/../.."
root=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
flags="-O2 -I$root/capi/include -L$build/lib -Wl,-rpath,$build/lib"

# shellcheck disable=SC2086
cc $flags tests/bench/call/call.c -ltessera -o "$work/c"
# shellcheck disable=SC2086
c++ -std=c++11 $flags tests/bench/call/call.cpp -ltessera -pthread -o "$work/cpp"
if command -v cargo >/dev/null; then
  (cd tests/bench/call/rust && TESSERA_DIR= TESSERA_LIB_DIR=$build/lib TESSERA_INCLUDE_DIR=$root/capi/include CARGO_TARGET_DIR=$work/cargo \
    cargo build --quiet --release)
  printf '#!/bin/sh\nLD_LIBRARY_PATH=%s exec %s\n' "$build/lib" "$work/cargo/release/call" >"$work/rust"
fi
(
  cd bindings/go
  . ./environment.sh
  go test -c -o "$work/go.test" . && trap - EXIT && rm -rf "$package"
) && cat >"$work/go" <<SH
#!/bin/sh
"$work/go.test" -test.run '^\$' -test.bench '^BenchmarkCall' |
  awk '/^BenchmarkCall\/abi_version/ { empty = \$3 } /^BenchmarkCall\/world_rank/ { printf "go %.1f %.1f\n", empty, \$3 }'
SH
(
  cd bindings/julia
  . ./environment.sh
  printf '#!/bin/sh\nexport TESSERA_LIBRARY="%s" JULIA_LOAD_PATH="%s" JULIA_DEPOT_PATH="%s"\nexec "%s" --startup-file=no "%s"\n' \
    "$TESSERA_LIBRARY" "$JULIA_LOAD_PATH" "$JULIA_DEPOT_PATH" "$julia" "$root/tests/bench/call/call.jl" >"$work/julia"
) || true
printf '#!/bin/sh\nTESSERA_LIBRARY=%s PYTHONPATH=%s PYTHONDONTWRITEBYTECODE=1 exec python3 %s\n' "$build/lib/libtessera.so" \
  "$root/bindings/python" "$root/tests/bench/call/call.py" >"$work/python"
if [ -x bindings/java/call_bench.sh ]; then
  printf '#!/bin/sh\nexec %s %s\n' "$root/bindings/java/call_bench.sh" "$build" >"$work/java"
fi

echo "load average $(cut -d' ' -f1 /proc/loadavg)"
for _ in 1 2 3; do
  for language in c cpp rust go java julia python; do
    [ -f "$work/$language" ] || continue
    chmod +x "$work/$language"
    OMP_NUM_THREADS=1 "$work/$language"
  done
done | awk '
  { if (!($1 in empty) || $2 < empty[$1]) empty[$1] = $2; if (!($1 in call) || $3 < call[$1]) call[$1] = $3
    if (!seen[$1]++) order[++n] = $1 }
  END { print "language  empty call, ns  rank of a world, ns"
        for (i = 1; i <= n; ++i) printf "%-12s  %10.1f  %19.1f\n", order[i], empty[order[i]], call[order[i]] }'
