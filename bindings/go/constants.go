// The enumerations of the C interface. Generated from the C headers by bindings/generate.py; do not edit.

package tessera

// Code is the enumeration tessera_status_code of the C interface.
type Code int32

const (
	OK                    Code = 0
	ErrArgument           Code = 1 // a value that the call cannot accept
	ErrHandleNull         Code = 2 // a handle is {0}
	ErrHandleStale        Code = 3 // a handle was destroyed, or never existed
	ErrHandleType         Code = 4 // a handle of another kind
	ErrBuffer             Code = 5 // the caller's buffer is too small; the needed length is reported
	ErrBusy               Code = 6 // another call on this one-at-a-time object is running
	ErrTimeout            Code = 7
	ErrCancelled          Code = 8
	ErrPeerFailed         Code = 9  // another rank died, left or failed; err->rank says which
	ErrCollectiveMismatch Code = 10 // ranks called different collectives
	ErrIO                 Code = 11
	ErrFormat             Code = 12 // a file or text that breaks its format
	ErrNotFound           Code = 13
	ErrUnsupported        Code = 14
	ErrOutOfMemory        Code = 15
	ErrNumeric            Code = 16 // NaN or infinity where a finite number is needed
	ErrEnd                Code = 17 // no more data
	ErrState              Code = 18 // the object is not in a state that allows the call
	ErrForked             Code = 19 // the handle was made before fork()
	ErrDevice             Code = 20
	ErrInternal           Code = 21 // a defect of the library
)

// Kind is the enumeration tessera_kind of the C interface.
type Kind int32

const (
	KindAny       Kind = 0
	KindConfig    Kind = 1
	KindWorld     Kind = 2
	KindMesh      Kind = 3
	KindTensor    Kind = 4
	KindModel     Kind = 5
	KindBatch     Kind = 6
	KindDataset   Kind = 7
	KindTrainer   Kind = 8
	KindFuture    Kind = 9
	KindEvents    Kind = 10
	KindTokenizer Kind = 11
)

// DType is the enumeration tessera_dtype of the C interface.
type DType int32

const (
	DTypeF32  DType = 1
	DTypeF64  DType = 2
	DTypeF16  DType = 3
	DTypeBF16 DType = 4
	DTypeI64  DType = 5
	DTypeI32  DType = 6
	DTypeU8   DType = 7
)

// Domain is the enumeration tessera_domain of the C interface.
type Domain int32

const (
	DomainNone  Domain = 0
	DomainOs    Domain = 1 // errno
	DomainCuda  Domain = 2 // cudaError_t
	DomainNccl  Domain = 3 // ncclResult_t
	DomainTorch Domain = 4 // an error of LibTorch; no code
)

// LogLevel is the enumeration tessera_log_level of the C interface.
type LogLevel int32

const (
	LogTrace   LogLevel = 0
	LogDebug   LogLevel = 1
	LogInfo    LogLevel = 2
	LogWarning LogLevel = 3 // the default
	LogError   LogLevel = 4
	LogOff     LogLevel = 5
)

// KeyType is the enumeration tessera_key_type of the C interface.
type KeyType int32

const (
	KeyBoolean  KeyType = 0 // true | false
	KeyInteger  KeyType = 1
	KeyReal     KeyType = 2
	KeyText     KeyType = 3
	KeyChoice   KeyType = 4 // one of `choices`
	KeyTextList KeyType = 5 // separated by commas; "\," is a comma inside an element
	KeyRealList KeyType = 6 // separated by commas
)

// Backend is the enumeration tessera_backend of the C interface.
type Backend int32

const (
	BackendAuto  Backend = 0 // local when all ranks are on one host, else gloo on CPUs and nccl on GPUs
	BackendLocal Backend = 1 // shared memory of one host
	BackendGloo  Backend = 2 // sockets
	BackendNccl  Backend = 3 // NVIDIA GPUs
)

// Device is the enumeration tessera_device of the C interface.
type Device int32

const (
	DeviceCpu  Device = 0
	DeviceCuda Device = 1 // the device whose index is local_rank
)

// Allocator is the enumeration tessera_allocator of the C interface.
type Allocator int32

const (
	AllocatorCaching Allocator = 0 // freed memory of CPU tensors is kept and used again; page faults cost a step more than half its time otherwise. Holds for every user of LibTorch in the process.
	AllocatorSystem  Allocator = 1 // LibTorch's allocator is left as it is
)

// Switch is the enumeration tessera_switch of the C interface.
type Switch int32

const (
	SwitchAuto Switch = 0
	SwitchOn   Switch = 1
	SwitchOff  Switch = 2
)

// Reduce is the enumeration tessera_reduce of the C interface.
type Reduce int32

const (
	ReduceSum Reduce = 0
	ReduceAvg Reduce = 1
	ReduceMax Reduce = 2
	ReduceMin Reduce = 3
)

// BatchArray is the enumeration tessera_batch_array of the C interface.
type BatchArray int32

const (
	BatchTokens          BatchArray = 0 // [T]
	BatchLabels          BatchArray = 1 // [T] shifted: the token that should follow; -100 is not trained on
	BatchPositions       BatchArray = 2 // [T] from 0 in each document
	BatchCuSeqlens       BatchArray = 3 // [n+1] sums of the documents' lengths
	BatchCuSeqlensPadded BatchArray = 4 // [n+1] where documents start, with padding; the last is T
	BatchSegments        BatchArray = 5 // [T] 1 for the first document, 2 for the next ...; 0 on padding
)

// BatchForm is the enumeration tessera_batch_form of the C interface.
type BatchForm int32

const (
	BatchFormLengths   BatchForm = 0 // tokens end to end; index [n]: the documents' lengths. The library pads.
	BatchFormRows      BatchForm = 1 // padded rows [B, S] (BSHD); index [B]: real tokens at the start of each row
	BatchFormPositions BatchForm = 2 // index [T]: position ids, 0 where a document starts
	BatchFormSegments  BatchForm = 3 // index [T] or [B, S]: equal numbers on a document's tokens, 0 on padding
	BatchFormCuSeqlens BatchForm = 4 // index [n+1] or [2, n+1]: cu_seqlens, and cu_seqlens_padded behind it (THD)
)

// PlanPart is the enumeration tessera_plan_part of the C interface.
type PlanPart int32

const (
	PlanSummary    PlanPart = 0 // mesh, units, memory per rank
	PlanProgram    PlanPart = 1 // the compiled step of rank 0, one instruction a line
	PlanSearch     PlanPart = 2 // the fastest meshes that fit into the memory of the cluster, as a table
	PlanSearchJson PlanPart = 3 // the same as a JSON object, with the recipe keys of each
)

// TimelineFormat is the enumeration tessera_timeline_format of the C interface.
type TimelineFormat int32

const (
	TimelineText   TimelineFormat = 0 // a line per pipeline rank
	TimelineColour TimelineFormat = 1 // the same with the colours of an ANSI terminal
	TimelineSvg    TimelineFormat = 2 // an image
	TimelineTrace  TimelineFormat = 3 // Trace Event JSON, for ui.perfetto.dev and chrome://tracing
)

// EventType is the enumeration tessera_event_type of the C interface.
type EventType int32

const (
	EventMetrics    EventType = 1
	EventLog        EventType = 2
	EventFailure    EventType = 3
	EventCheckpoint EventType = 4 // saved; the message is the directory
)

// ABIVersion is the number of the C interface that this package was made for.
const ABIVersion = 1
