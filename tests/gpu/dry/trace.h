// What the checker of races is told (races.cpp): who does what on which stream, and what waits.
#pragma once

#include <cstddef>
#include <vector>

#include "dry.h"

namespace dry {

/// Memory that work on a stream reads, or writes and perhaps reads.
struct Access {
  const void* at;
  size_t bytes;
  bool writes;
};

/// Whether TESSERA_DRY_TRACE names a file.
bool tracing();
/// One line of the trace, with the thread in front. Lines stand in the order in which calls took effect, so
/// the guard is held.
void trace(const char* format, ...) __attribute__((format(printf, 1, 2)));
/// As trace("VERB STREAM"), with a number behind it where one is given.
void trace(const char* verb, const Stream& stream, int number = -1);
/// A stream waits for an event; with the place in the code that says so.
void trace_follow(const Stream& stream, int event);
/// Work that is put on a stream; what lies in no device's or pinned memory is left out.
void trace_work(const Stream& stream, const char* name, const std::vector<Access>& accesses);
/// What one of Tessera's own kernels does, from its mangled name and its arguments. False for other kernels.
bool trace_kernel(const Stream& stream, const char* mangled, void** arguments);
/// Tells the operator of LibTorch that this thread is in, if any, that it has put something on a stream.
void note_work(const Stream& stream);
/// Starts listening to LibTorch's operators and allocator, once; no lock may be held.
void listen();

}  // namespace dry

// ---- What listens inside LibTorch (torch_listener.cpp), which is loaded when LibTorch is there ----

extern "C" {
/// An operator begins and ends on the calling thread. What it was given (which stays where it is until the
/// end) is traced on each stream when the operator itself, and not another one that it calls, first puts
/// something there; what it has made at its end.
void dry_operator_begins(const char* name, const dry::Access* given, size_t count);
void dry_operator_ends(const dry::Access* made, size_t count);
/// The caching allocator gives a block to a stream ("given"), or takes it back for others ("taken").
void dry_block(const char* verb, int device, size_t address, size_t bytes, void* stream);
/// To be called once by dry::listen.
void dry_start_listening();
}
