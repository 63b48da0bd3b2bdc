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
OMP_NUM_THREADS=1 go test -count=1 -timeout 300s ./...
