#!/bin/sh
# Writes the low layer with SWIG. The result is committed, so that users need no SWIG.
#   generate.sh           write internal/capi/capi.go and capi_wrap.c
#   generate.sh --check   fail when they are not what would be written; 77: no SWIG of the version they were written with
set -eu
cd "$(dirname "$0")/internal/capi"
command -v swig >/dev/null || { echo "swig is not installed"; exit 77; }
command -v gofmt >/dev/null || { echo "gofmt is not installed"; exit 77; }
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
swig -go -cgo -intgosize 64 -w314 -I../../../../capi/include -outdir "$out" -o "$out/capi_wrap.c" tessera.i
# Where a person's tree lies is no part of the result.
sed -i "s|$out/||g" "$out/capi.go" "$out/capi_wrap.c"
# The same copy of a C string in a form that go vet does not warn about.
sed -i 's|r := string((\*\[0x7fffffff\]byte)(unsafe.Pointer(p.p))\[:p.n\])|r := string(append([]byte(nil), s...))|' "$out/capi.go"
gofmt -w "$out/capi.go"
if [ "${1:-}" != --check ]; then
  cp "$out/capi.go" "$out/capi_wrap.c" .
  exit 0
fi
theirs=$(sed -n 's/^ \* Version //p' capi.go)
ours=$(sed -n 's/^ \* Version //p' "$out/capi.go")
[ "$theirs" = "$ours" ] || { echo "swig $ours writes other text than swig $theirs, which was used"; exit 77; }
diff -q capi.go "$out/capi.go" && diff -q capi_wrap.c "$out/capi_wrap.c"
