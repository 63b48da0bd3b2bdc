#!/bin/sh
# The tests of the Go binding against the library in BUILD_DIR. Exit status 77: no Go.
# usage: run_tests.sh BUILD_DIR
set -eu
build=$(realpath "$1")
cd "$(dirname "$0")"
. ./environment.sh
unformatted=$(gofmt -l . ../../examples/go)
[ -z "$unformatted" ] || { echo "not formatted by gofmt: $unformatted"; exit 1; }
go vet ./...
(cd ../../examples/go && go vet ./...)
./generate.sh --check || [ $? -eq 77 ]
# Headers of another interface are refused when the package is built; pkg-config tells where they are.
cp -r "$root/capi/include" "$package/include"
sed -i 's/\(TESSERA_ABI_VERSION\) .*/\1 999/' "$package/include/tessera/version.h"
sed "s|^Cflags:.*|Cflags: -I$package/include|" "$package/tessera.pc" >"$package/include/tessera.pc"
if PKG_CONFIG_PATH=$package/include CGO_CPPFLAGS="-I$package/include" go build ./internal/capi >"$package/log" 2>&1 ||
  ! grep -q "another TESSERA_ABI_VERSION" "$package/log"; then
  cat "$package/log"
  echo "headers of another interface were accepted"
  exit 1
fi
OMP_NUM_THREADS=1 go test -count=1 -timeout 300s ./...
