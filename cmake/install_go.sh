#!/usr/bin/env bash
# Puts a newer Go into a folder of its own, with the older Go of the system: toolchains are modules of Go's module proxy, and their
# sums are checked like those of any module. Nothing outside that folder changes.
# usage: cmake/install_go.sh PREFIX     then: PREFIX/bin/go
set -euo pipefail

prefix=$(realpath -m "${1:?usage: install_go.sh PREFIX}")
version=1.24.9
[ -x "$prefix/bin/go" ] && exit 0
command -v go >/dev/null || { echo "a newer go cannot be installed without an older one" >&2; exit 1; }
case $(uname -m) in
  x86_64) machine=amd64 ;;
  aarch64) machine=arm64 ;;
  *) echo "no go for $(uname -m)" >&2; exit 1 ;;
esac

mkdir -p "$(dirname "$prefix")"
work=$(mktemp -d "$(dirname "$prefix")/go.XXXXXX")
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
toolchain=golang.org/toolchain@v0.0.1-go$version.linux-$machine
(cd "$work" && GOPATH=$work/path GOFLAGS='' GO111MODULE=on go mod download "$toolchain")
tree=$work/path/pkg/mod/$toolchain
chmod -R u+w "$tree"
# Modules carry no permissions.
chmod +x "$tree"/bin/* "$tree"/pkg/tool/*/*
GOROOT='' GOTOOLCHAIN=local "$tree/bin/go" version
rm -rf "$prefix"
mv "$tree" "$prefix"
