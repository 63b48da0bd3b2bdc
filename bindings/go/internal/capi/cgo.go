// Package capi is the C interface function by function: what SWIG makes of the headers, and the structs. It is private to the
// package tessera.
//
// The library is found by pkg-config: set PKG_CONFIG_PATH when it is not installed in a usual place.
package capi

// #cgo pkg-config: tessera
import "C"
