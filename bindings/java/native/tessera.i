/*
 * tessera.i - the JNI layer: every function of the C interface as a static method of the package-private class Native.
 *
 * Handles go in as NativeObject (so that the object lives as long as the call) and come out as long[]. Numbers and
 * arrays out are arrays of the caller, text is UTF-8 in byte[]. A status other than 0 throws TesseraException in the same
 * native call. Structs are proxies without finalizers, which the caller deletes.
 */
%module(jniclassname="NativeLayer") Native

%{
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <tessera/tessera.h>

static jclass exception_class;
static jmethodID exception_init;
static jfieldID object_id;

JNIEXPORT jint JNICALL JNI_OnLoad(JavaVM *vm, void *reserved) {
  JNIEnv *env = NULL;
  (void)reserved;
  if ((*vm)->GetEnv(vm, (void **)&env, JNI_VERSION_1_8) != JNI_OK) return JNI_ERR;
  jclass exception = (*env)->FindClass(env, "org/tessera/TesseraException");
  jclass object = (*env)->FindClass(env, "org/tessera/NativeObject");
  if (exception == NULL || object == NULL) return JNI_ERR;
  exception_class = (*env)->NewGlobalRef(env, exception);
  exception_init = (*env)->GetMethodID(env, exception, "<init>", "(IIII[B)V");
  object_id = (*env)->GetFieldID(env, object, "id", "J");
  if (exception_class == NULL || exception_init == NULL || object_id == NULL) return JNI_ERR;
  return JNI_VERSION_1_8;
}

/* The handle of an object; {0} for null. */
static uint64_t id_of(JNIEnv *env, jobject object) {
  return object == NULL ? 0 : (uint64_t)(*env)->GetLongField(env, object, object_id);
}

/* A Java array of the `length` bytes at `text`; null with an exception pending when there is no memory. */
static jbyteArray bytes_of(JNIEnv *env, const char *text, size_t length) {
  jbyteArray bytes = (*env)->NewByteArray(env, (jsize)length);
  if (bytes != NULL) (*env)->SetByteArrayRegion(env, bytes, 0, (jsize)length, (const jbyte *)text);
  return bytes;
}

static void throw_error(JNIEnv *env, tessera_status status, const tessera_error *error) {
  jbyteArray message = bytes_of(env, error->message, strnlen(error->message, sizeof error->message));
  if (message == NULL) return;
  jobject exception = (*env)->NewObject(env, exception_class, exception_init, status, error->domain, error->native_code,
                                        error->rank, message);
  if (exception != NULL) (*env)->Throw(env, (jthrowable)exception);
}

JNIEXPORT jlong JNICALL Java_org_tessera_NativeLayer_buffer_1address(JNIEnv *env, jclass type, jobject buffer) {
  (void)type;
  return (jlong)(intptr_t)(*env)->GetDirectBufferAddress(env, buffer);
}
%}

%include <stdint.i>  // with SWIGWORDSIZE64: int64_t is long, which SWIG takes for 32 bits without the next line
%apply long long { int64_t };

/* ---- The classes that SWIG writes are private to the package ---- */
%pragma(java) moduleclassmodifiers="final class"
%pragma(java) jniclassclassmodifiers="final class"
%pragma(java) jniclasscode=%{
  /** The library of this layer, between Java and libtessera. */
  static final String LIBRARY = "libtessera_jni.so";

  static {
    NativeLibrary.load();
    NativeLibrary.checkAbi();
  }

  static void openInstalled() {
    System.loadLibrary("tessera_jni");
  }
%}
%typemap(javaclassmodifiers) SWIGTYPE "final class"
%typemap(javafinalize) SWIGTYPE ""
%include "enumtypeunsafe.swg"
%typemap(javaclassmodifiers) enum SWIGTYPE "final class"
/* Macros would become a public interface. */
%ignore TESSERA_VERSION_MAJOR;
%ignore TESSERA_VERSION_MINOR;
%ignore TESSERA_VERSION_PATCH;
%ignore TESSERA_ABI_VERSION;
%ignore TESSERA_FOREVER;
%javaconst(1);

/* ---- Handles ---- */
%define TESSERA_HANDLE(T)
%ignore T;
%ignore T ## _destroy;
%typemap(jni) T "jobject"
%typemap(jtype) T "NativeObject"
%typemap(jstype) T "NativeObject"
%typemap(javain) T "NativeObject.open($javainput)"
%typemap(in) T %{ $1.id = id_of(jenv, $input); %}
TESSERA_ARRAY(T, long, jlongArray, Long, jlong, 0)
TESSERA_ARRAY(const T, long, jlongArray, Long, jlong, JNI_ABORT)
%enddef

/* C arrays, and single outputs, as Java arrays: null is NULL. */
%define TESSERA_ARRAY(C, JAVA, JNI, NAME, ELEMENT, MODE)
%typemap(jni) C * "JNI"
%typemap(jtype) C * "JAVA[]"
%typemap(jstype) C * "JAVA[]"
%typemap(javain) C * "$javainput"
%typemap(in) C * {
  $1 = NULL;
  if ($input != NULL) {
    $1 = ($1_ltype)(*jenv)->Get ## NAME ## ArrayElements(jenv, $input, NULL);
    if ($1 == NULL) return $null;
  }
}
%typemap(freearg) C * {
  if ($1 != NULL) (*jenv)->Release ## NAME ## ArrayElements(jenv, $input, (ELEMENT *)$1, MODE);
}
%enddef

TESSERA_HANDLE(tessera_config)
TESSERA_HANDLE(tessera_world)
TESSERA_HANDLE(tessera_mesh)
TESSERA_HANDLE(tessera_tensor)
TESSERA_HANDLE(tessera_model)
TESSERA_HANDLE(tessera_batch)
TESSERA_HANDLE(tessera_dataset)
TESSERA_HANDLE(tessera_trainer)
TESSERA_HANDLE(tessera_future)
TESSERA_HANDLE(tessera_events)
TESSERA_HANDLE(tessera_tokenizer)

TESSERA_ARRAY(int32_t, int, jintArray, Int, jint, 0)
TESSERA_ARRAY(int64_t, long, jlongArray, Long, jlong, 0)
TESSERA_ARRAY(const int64_t, long, jlongArray, Long, jlong, JNI_ABORT)
TESSERA_ARRAY(size_t, long, jlongArray, Long, jlong, 0)
TESSERA_ARRAY(struct DLManagedTensorVersioned *, long, jlongArray, Long, jlong, 0)

/* Buffers whose capacity is that of the Java array. */
%define TESSERA_BUFFER(C, BUF, CAP, JAVA, JNI, NAME, ELEMENT)
%typemap(jni) (C BUF, size_t CAP) "JNI"
%typemap(jtype) (C BUF, size_t CAP) "JAVA[]"
%typemap(jstype) (C BUF, size_t CAP) "JAVA[]"
%typemap(javain) (C BUF, size_t CAP) "$javainput"
%typemap(in) (C BUF, size_t CAP) {
  $1 = NULL;
  $2 = 0;
  if ($input != NULL) {
    $1 = ($1_ltype)(*jenv)->Get ## NAME ## ArrayElements(jenv, $input, NULL);
    if ($1 == NULL) return $null;
    $2 = (size_t)(*jenv)->GetArrayLength(jenv, $input);
  }
}
%typemap(freearg) (C BUF, size_t CAP) {
  if ($1 != NULL) (*jenv)->Release ## NAME ## ArrayElements(jenv, $input, (ELEMENT *)$1, 0);
}
%enddef
TESSERA_BUFFER(char *, buf, cap, byte, jbyteArray, Byte, jbyte)
TESSERA_BUFFER(int64_t *, buf, cap, long, jlongArray, Long, jlong)
TESSERA_BUFFER(int64_t *, labels, cap, long, jlongArray, Long, jlong)
TESSERA_BUFFER(int32_t *, buf, cap, int, jintArray, Int, jint)
TESSERA_BUFFER(const char *, text, bytes, byte, jbyteArray, Byte, jbyte)

/* ---- Text in: UTF-8 that ends with a NUL, put there by the caller ---- */
TESSERA_ARRAY(const char, byte, jbyteArray, Byte, jbyte, JNI_ABORT)
%typemap(jni) const char * "jbyteArray"
%typemap(out) const char * %{ $result = $1 == NULL ? NULL : bytes_of(jenv, $1, strlen($1)); %}
%typemap(javaout) const char * { return $jnicall; }

/* ---- Memory by address ---- */
%typemap(jni) void *, const void *, struct DLManagedTensorVersioned * "jlong"
%typemap(jtype) void *, const void *, struct DLManagedTensorVersioned * "long"
%typemap(jstype) void *, const void *, struct DLManagedTensorVersioned * "long"
%typemap(javain) void *, const void *, struct DLManagedTensorVersioned * "$javainput"
%typemap(in) void *, const void *, struct DLManagedTensorVersioned * %{ $1 = ($1_ltype)(intptr_t)$input; %}
%native(buffer_address) jlong buffer_address(jobject buffer);
%typemap(jtype) jobject "java.nio.Buffer"
%typemap(jstype) jobject "java.nio.Buffer"

/* ---- Errors: thrown by the call that failed ---- */
%ignore tessera_error;
%typemap(in, numinputs=0) tessera_error *err (tessera_error error) %{
  error.code = TESSERA_OK;
  error.domain = error.native_code = 0;
  error.rank = -1;
  error.message[0] = '\0';
  $1 = &error;
%}
%typemap(argout) tessera_error *err %{ if (result != TESSERA_OK) throw_error(jenv, result, $1); %}

/* ---- Structs: made with their defaults ---- */
%define TESSERA_STRUCT(T, INIT, NAME)
%rename(NAME) T;
%ignore T::struct_size;
%ignore T::reserved0;
%ignore INIT;
%extend T {
  T() {
    T *made = (T *)calloc(1, sizeof(T));
    if (made != NULL) INIT(made, sizeof(T));
    return made;
  }
}
%enddef
TESSERA_STRUCT(tessera_world_options, tessera_world_options_init, WorldOptionsStruct)
TESSERA_STRUCT(tessera_mesh_options, tessera_mesh_options_init, MeshOptionsStruct)
TESSERA_STRUCT(tessera_generate_options, tessera_generate_options_init, GenerateOptionsStruct)
TESSERA_STRUCT(tessera_timeline_options, tessera_timeline_options_init, TimelineOptionsStruct)
TESSERA_STRUCT(tessera_metrics, tessera_metrics_init, MetricsStruct)
TESSERA_STRUCT(tessera_event, tessera_event_init, EventStruct)
TESSERA_STRUCT(tessera_key_info, tessera_key_info_init, KeyInfoStruct)

/* Fixed text in structs is read as bytes. */
%typemap(jni) char [ANY] "jbyteArray"
%typemap(jtype) char [ANY] "byte[]"
%typemap(jstype) char [ANY] "byte[]"
%typemap(javaout) char [ANY] { return $jnicall; }
%typemap(out) char [ANY] %{ $result = bytes_of(jenv, $1, strnlen($1, $1_dim0)); %}
%immutable tessera_event::message;
%immutable tessera_key_info::name;
%immutable tessera_key_info::default_value;
%immutable tessera_key_info::choices;
%immutable tessera_key_info::doc;

/* The texts of world options are owned by the struct. */
%ignore tessera_world_options::rendezvous;
%ignore tessera_world_options::job;
%extend tessera_world_options {
  ~tessera_world_options() {
    free((void *)$self->rendezvous);
    free((void *)$self->job);
    free($self);
  }
  void set_texts(const char *rendezvous, const char *job) {
    free((void *)$self->rendezvous);
    free((void *)$self->job);
    $self->rendezvous = rendezvous == NULL ? NULL : strdup(rendezvous);
    $self->job = job == NULL ? NULL : strdup(job);
  }
}

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

%inline %{
/* The ABI that this layer was compiled for. */
int32_t header_abi_version(void) { return TESSERA_ABI_VERSION; }

/* Waits until one of the futures has ended or the time is over; the status, which is not thrown. */
int32_t wait_round(const int64_t *ids, int64_t count, int64_t timeout_ns) {
  int64_t index = 0;
  return tessera_future_wait_any((const tessera_future *)ids, count, timeout_ns, &index, NULL);
}

/* Whether the future with this handle has ended, or is no more. */
int32_t has_ended(int64_t id) {
  int32_t done = 0;
  return tessera_future_poll((tessera_future){(uint64_t)id}, &done, NULL) != TESSERA_OK || done != 0;
}

/* Destroys the handle `id` of a tessera_kind. Never blocks. */
void destroy(int32_t kind, int64_t id) {
  uint64_t bits = (uint64_t)id;
  switch (kind) {
    case TESSERA_KIND_CONFIG: tessera_config_destroy((tessera_config){bits}); break;
    case TESSERA_KIND_WORLD: tessera_world_destroy((tessera_world){bits}); break;
    case TESSERA_KIND_MESH: tessera_mesh_destroy((tessera_mesh){bits}); break;
    case TESSERA_KIND_TENSOR: tessera_tensor_destroy((tessera_tensor){bits}); break;
    case TESSERA_KIND_MODEL: tessera_model_destroy((tessera_model){bits}); break;
    case TESSERA_KIND_BATCH: tessera_batch_destroy((tessera_batch){bits}); break;
    case TESSERA_KIND_DATASET: tessera_dataset_destroy((tessera_dataset){bits}); break;
    case TESSERA_KIND_TRAINER: tessera_trainer_destroy((tessera_trainer){bits}); break;
    case TESSERA_KIND_FUTURE: tessera_future_destroy((tessera_future){bits}); break;
    case TESSERA_KIND_EVENTS: tessera_events_destroy((tessera_events){bits}); break;
    case TESSERA_KIND_TOKENIZER: tessera_tokenizer_destroy((tessera_tokenizer){bits}); break;
    default: break;
  }
}
%}
