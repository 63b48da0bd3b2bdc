module train

go 1.24

require tessera v0.0.0

replace tessera => ../../bindings/go
