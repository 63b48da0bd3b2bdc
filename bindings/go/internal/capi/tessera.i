// The C interface as SWIG sees it: functions only. Handles become uint64, structs the Go mirrors of structs.go, arrays plain
// pointers. Only the package above uses the result, so that nothing of SWIG reaches a user.
%module capi
%{
#include <tessera/tessera.h>
%}

// Enumerations and macros are constants of the Go packages; structs are mirrored.
%rename("$ignore", %$isenum) "";
%rename("$ignore", %$isenumitem) "";
%rename("$ignore", %$isconstant) "";
%rename("$ignore", %$isclass) "";

typedef int int32_t;
typedef long int64_t;  // of LP64 systems, so that no cast differs from the headers

%define SCALAR(C_TYPE, GO_TYPE)
%typemap(gotype) C_TYPE "GO_TYPE"
%typemap(in) C_TYPE %{ $1 = ($1_ltype)$input; %}
%typemap(out) C_TYPE %{ $result = $1; %}
%enddef
%define POINTER(C_TYPE, GO_TYPE)
%typemap(gotype) C_TYPE "*GO_TYPE"
%typemap(in) C_TYPE %{ $1 = ($1_ltype)$input; %}
%typemap(freearg) C_TYPE ""
%enddef
%define HANDLE(T)
%typemap(gotype) T "uint64"
%typemap(in) T %{ $1.id = (uint64_t)$input; %}
POINTER(T *, uint64)
POINTER(const T *, uint64)
%enddef

SCALAR(int32_t, int32)
SCALAR(int64_t, int64)
SCALAR(size_t, uint64)
SCALAR(tessera_status, int32)
POINTER(int32_t *, int32)
POINTER(int64_t *, int64)
POINTER(const int64_t *, int64)
POINTER(size_t *, uint64)
POINTER(char *buf, byte)
POINTER(const char *dtype, byte)  // may be null
POINTER(const char *text, byte)   // has a length of its own
%typemap(gotype) void *, const void * "unsafe.Pointer"
%typemap(in) void *, const void * %{ $1 = ($1_ltype)$input; %}

%typemap(gotype) struct DLManagedTensorVersioned * "unsafe.Pointer"
%typemap(in) struct DLManagedTensorVersioned * %{ $1 = ($1_ltype)$input; %}
POINTER(struct DLManagedTensorVersioned **, unsafe.Pointer)

HANDLE(tessera_config)
HANDLE(tessera_world)
HANDLE(tessera_mesh)
HANDLE(tessera_tensor)
HANDLE(tessera_model)
HANDLE(tessera_batch)
HANDLE(tessera_dataset)
HANDLE(tessera_trainer)
HANDLE(tessera_future)
HANDLE(tessera_events)
HANDLE(tessera_tokenizer)

POINTER(tessera_error *, Error)
POINTER(tessera_key_info *, KeyInfo)
POINTER(tessera_world_options *, WorldOptions)
POINTER(const tessera_world_options *, WorldOptions)
POINTER(tessera_mesh_options *, MeshOptions)
POINTER(const tessera_mesh_options *, MeshOptions)
POINTER(tessera_generate_options *, GenerateOptions)
POINTER(const tessera_generate_options *, GenerateOptions)
POINTER(tessera_timeline_options *, TimelineOptions)
POINTER(const tessera_timeline_options *, TimelineOptions)
POINTER(tessera_metrics *, Metrics)
POINTER(tessera_event *, Event)

#define TESSERA_API
%include "tessera/types.h"
%include "tessera/error.h"
%include "tessera/version.h"
%include "tessera/log.h"
%include "tessera/config.h"
%include "tessera/world.h"
%include "tessera/mesh.h"
%include "tessera/tensor.h"
%include "tessera/collective.h"
%include "tessera/model.h"
%include "tessera/batch.h"
%include "tessera/dataset.h"
%include "tessera/trainer.h"
%include "tessera/checkpoint.h"
%include "tessera/tokenizer.h"
%include "tessera/pack.h"
%include "tessera/plan.h"
%include "tessera/future.h"
%include "tessera/events.h"
