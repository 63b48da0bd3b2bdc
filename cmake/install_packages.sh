#!/usr/bin/env bash
# Installs the Debian packages that building Tessera needs, and with --tests those of its tests too. Packages that
# are there already are not touched; when nothing is missing it needs neither root nor network.
set -euo pipefail

packages=(build-essential ca-certificates ccache cmake git ninja-build pkg-config python3 python3-pip python3-venv unzip
          libgmock-dev libgtest-dev libspdlog-dev libyaml-cpp-dev libzstd-dev nlohmann-json3-dev zlib1g-dev)
if [ "${1:-}" = --tests ]; then
  packages+=(clang-14 libclang-rt-14-dev openmpi-bin abigail-tools iproute2 maven swig)
  command -v javac >/dev/null || packages+=(openjdk-17-jdk-headless)
  # Debian 12's Go is too old for the binding, but can fetch a newer one (install_go.sh).
  command -v go >/dev/null || [ -x /usr/local/go/bin/go ] || packages+=(golang-go)
fi
# The tokenizers crate wants a newer Rust than Debian 12's rustc; rustc-web is the current one, kept up for browsers.
if ! command -v cargo >/dev/null; then
  packages+=(cargo-web rustc-web)
fi

missing=()
for package in "${packages[@]}"; do
  state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$state" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "as root, install: ${missing[*]}" >&2; exit 1; }
  as_root=(sudo)
fi
echo "installing Debian packages: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
