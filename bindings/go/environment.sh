# Sourced from bindings/go or examples/go with `build` set: finds Go, or puts a newer one into the build folder, and lets cgo find
# the library in that build folder, as pkg-config does once it is installed. Exits with 77 when something is missing.
root=$(cd ../.. && pwd)
for place in /usr/local/go/bin /usr/lib/go/bin; do
  command -v go >/dev/null || PATH=$PATH:$place
done
command -v go >/dev/null || { echo "go is not installed"; exit 77; }
command -v pkg-config >/dev/null || { echo "pkg-config is not installed"; exit 77; }
case $(go env GOVERSION) in
  "" | go1.[0-9] | go1.[0-9].* | go1.1[0-9]* | go1.2[0-3]*)
    flock "$build" "$root/cmake/install_go.sh" "$build/go" >"$build/install_go.log" 2>&1 ||
      { echo "go is older than 1.24, and cmake/install_go.sh cannot install a newer one here"; exit 77; }
    PATH=$build/go/bin:$PATH
    ;;
esac
command -v "$(go env CC)" >/dev/null || { echo "cgo needs a C compiler"; exit 77; }
package=$(mktemp -d)
trap 'rm -rf "$package"' EXIT
cat >"$package/tessera.pc" <<PC
Name: tessera
Description: the library of a build folder
Version: 0.1.0
Cflags: -I$root/capi/include
Libs: -L$build/lib -Wl,-rpath,$build/lib -ltessera
PC
# Go's build cache does not ask what pkg-config said: without a flag of this folder it links what it built for another.
export CGO_CPPFLAGS="-DTESSERA_FOUND_IN=$build"
export PATH PKG_CONFIG_PATH="$package${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}" CGO_ENABLED=1 GOFLAGS=-mod=mod GOPROXY=off GOTOOLCHAIN=local
unset GOROOT
