#!/bin/sh
# Builds the example against the library in BUILD_DIR as OUT/train. Exit status 77: no Go.
# usage: build.sh BUILD_DIR OUT
set -eu
build=$(realpath "$1")
out=$(realpath "$2")
cd "$(dirname "$0")"
. ../../bindings/go/environment.sh
go build -o "$out/train" .
