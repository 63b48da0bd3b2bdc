// The structs of the C interface, field by field. Generated from the C headers by bindings/generate.py; do not edit.

package capi

// #include <tessera/tessera.h>
// #if TESSERA_ABI_VERSION != 1
// #error the headers of libtessera have another TESSERA_ABI_VERSION than the 1 that this package was made for
// #endif
import "C"

import "unsafe"

// Error is tessera_error.
type Error struct {
	Code       int32
	Domain     int32
	NativeCode int32
	Rank       int32
	Message    [240]byte
}

// KeyInfo is tessera_key_info.
type KeyInfo struct {
	StructSize   uint64
	Type         int32
	HasMin       int32
	HasMax       int32
	Reserved0    int32
	Min          float64
	Max          float64
	Name         [64]byte
	DefaultValue [128]byte
	Choices      [256]byte
	Doc          [512]byte
}

// WorldOptions is tessera_world_options.
type WorldOptions struct {
	StructSize         uint64
	Rank               int32
	Size               int32
	LocalRank          int32
	LocalSize          int32
	Backend            int32
	Device             int32
	IntraOpThreads     int32
	AgentStore         int32
	TimeoutNs          int64
	Rendezvous         unsafe.Pointer
	Job                unsafe.Pointer
	Allocator          int32
	Reserved0          int32
	RegisterBuffers    int32
	ExpandableSegments int32
}

// MeshOptions is tessera_mesh_options.
type MeshOptions struct {
	StructSize  uint64
	Pp          int64
	DpReplicate int64
	DpShard     int64
	Cp          int64
	Tp          int64
	Ep          int64
}

// Metrics is tessera_metrics.
type Metrics struct {
	StructSize           uint64
	Step                 int64
	Loss                 float64
	GradNorm             float64
	Lr                   float64
	Tokens               int64
	LabelTokens          int64
	Seconds              float64
	TokensPerS           float64
	CommunicationSeconds float64
	Memory               int64
	ExpertLoadRatio      float64
	ExpertIdle           float64
	ExpertBalanceLoss    float64
	ExpertZLoss          float64
	MemoryReserved       int64
}

// GenerateOptions is tessera_generate_options.
type GenerateOptions struct {
	StructSize   uint64
	MaxNewTokens int64
	TopK         int64
	Seed         int64
	Temperature  float64
	TopP         float64
}

// TimelineOptions is tessera_timeline_options.
type TimelineOptions struct {
	StructSize uint64
	Format     int32
	Columns    int32
	Backward   float64
	Collective float64
	Transfer   float64
}

// Event is tessera_event.
type Event struct {
	StructSize        uint64
	Type              int32
	Rank              int32
	Level             int32
	Status            int32
	TimeNs            int64
	Dropped           int64
	Step              int64
	Loss              float64
	GradNorm          float64
	Lr                float64
	Tokens            int64
	LabelTokens       int64
	Seconds           float64
	TokensPerS        float64
	Memory            int64
	Message           [512]byte
	ExpertLoadRatio   float64
	ExpertIdle        float64
	ExpertBalanceLoss float64
	ExpertZLoss       float64
}

// A header may be newer, with fields that are added at the end, but not older.
const (
	_ = uintptr(C.sizeof_tessera_error) - unsafe.Sizeof(Error{})
	_ = uintptr(C.sizeof_tessera_key_info) - unsafe.Sizeof(KeyInfo{})
	_ = uintptr(C.sizeof_tessera_world_options) - unsafe.Sizeof(WorldOptions{})
	_ = uintptr(C.sizeof_tessera_mesh_options) - unsafe.Sizeof(MeshOptions{})
	_ = uintptr(C.sizeof_tessera_metrics) - unsafe.Sizeof(Metrics{})
	_ = uintptr(C.sizeof_tessera_generate_options) - unsafe.Sizeof(GenerateOptions{})
	_ = uintptr(C.sizeof_tessera_timeline_options) - unsafe.Sizeof(TimelineOptions{})
	_ = uintptr(C.sizeof_tessera_event) - unsafe.Sizeof(Event{})
)
