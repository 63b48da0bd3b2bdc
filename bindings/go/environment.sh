# Sourced from bindings/go or examples/go with `build` set: finds Go and lets cgo find the library in that build folder, as pkg-config does once it is
# installed. Exits with 77 when something is missing.
root=$(cd ../.. && pwd)
for place in /usr/local/go/bin /usr/lib/go/bin; do
  command -v go >/dev/null || PATH=$PATH:$place
done
command -v go >/dev/null || { echo "go is not installed"; exit 77; }
command -v pkg-config >/dev/null || { echo "pkg-config is not installed"; exit 77; }
case $(go env GOVERSION) in
  go1.[0-9] | go1.[0-9].* | go1.1[0-9]* | go1.2[0-3]*) echo "$(go env GOVERSION) is older than 1.24"; exit 77 ;;
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
export PATH PKG_CONFIG_PATH="$package${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}" CGO_ENABLED=1 GOFLAGS=-mod=mod GOPROXY=off GOTOOLCHAIN=local
