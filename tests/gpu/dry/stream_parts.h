// What streams, events, captures and graphs of the dry runtime know of each other.
#pragma once

#include <chrono>
#include <thread>

#include "dry.h"

namespace dry {

/// What a capture has seen so far, and the graph that comes of it.
struct Capture {
  uint64_t id = 0;
  cudaStreamCaptureMode mode{};
  Stream* origin = nullptr;
  std::thread::id thread;
  bool valid = true;
  std::map<Stream*, uint64_t> sequence;  // nodes put on each stream
  std::vector<std::function<void()>> work;
  size_t launches = 0;
  size_t nodes = 0;
};

using CapturePtr = std::shared_ptr<Capture>;

struct Event {
  int device = 0;
  unsigned flags = 0;
  int id = 0;
  bool recorded = false;
  MarkPtr mark;
  std::chrono::steady_clock::time_point time;
  // Recorded under capture:
  CapturePtr capture;
  std::map<Stream*, uint64_t> clock;
};

struct Streams {
  std::unordered_set<Stream*> all;
  std::map<int, Stream*> own;  // of a device: handles 0 to 2
  std::unordered_set<Event*> events;
  std::vector<CapturePtr> captures;  // under way
  int next_id = 1;
  int next_event = 1;
};
Streams& streams();

// ---- Captures (graphs.cpp) ----

/// Puts a node into the graph of the stream's capture.
void add_node(Stream& stream, std::function<void()> run);
/// Ends the use of a capture, where there is one, by a call that it does not allow.
cudaError_t invalidate(const CapturePtr& capture, cudaError_t error, const char* call);
/// Handles 0 to 2 are the device's own stream, which waits for streams that block; none of those may be
/// captured.
cudaError_t implicit(cudaStream_t handle, const char* call);

}  // namespace dry
