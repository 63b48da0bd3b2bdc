// A trace of the dry CUDA runtime as it is read back: see trace.cpp, which writes it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <sstream>
#include <string>
#include <vector>

namespace races {

struct Access {
  uintptr_t at;
  size_t bytes;
  bool writes;
};

/// A line of the trace.
struct Entry {
  enum Verb {
    work,
    record,
    follow,
    reached,
    queried,
    await,
    ended,
    await_device,
    given,
    taken,
    gone,
    unmapped,
    capture,
    captured,
    replay
  };
  Verb verb{};
  int thread = 0;
  int stream = -1;
  int number = 0;  // an event, a capture or a device
  int name = 0;    // of work, or the place in the code that waits
  std::vector<Access> accesses;
};

struct StreamKind {
  std::string name;
  int device = 0;
  bool own = false, blocking = false;
};

struct Trace {
  std::vector<Entry> entries;
  std::vector<StreamKind> streams;
  std::vector<std::string> names;
  std::string deaf;  // why LibTorch's operators are not in it
  uintptr_t window = 0, end = 0;  // the addresses of devices

  std::map<std::string, int> stream_numbers, name_numbers;

  int stream(const std::string& name) {
    const auto [at, fresh] = stream_numbers.try_emplace(name, static_cast<int>(streams.size()));
    if (fresh) streams.push_back({name, std::atoi(name.c_str())});
    return at->second;
  }
  int name(const std::string& text) {
    const auto [at, fresh] = name_numbers.try_emplace(text, static_cast<int>(names.size()));
    if (fresh) names.push_back(text);
    return at->second;
  }
};

/// One more line; false when it is none.
inline bool add_line(Trace& trace, const std::string& line) {
  static const std::map<std::string, Entry::Verb> kVerbs = {
      {"work", Entry::work},       {"record", Entry::record},
      {"follow", Entry::follow},   {"reached", Entry::reached},
      {"queried", Entry::queried}, {"await", Entry::await},
      {"ended", Entry::ended},     {"await_device", Entry::await_device},
      {"given", Entry::given},     {"taken", Entry::taken},
      {"gone", Entry::gone},       {"unmapped", Entry::unmapped},
      {"capture", Entry::capture}, {"captured", Entry::captured},
      {"replay", Entry::replay}};
  std::istringstream in(line);
  Entry entry;
  std::string verb, text;
  in >> entry.thread >> verb;
  if (verb == "deaf") {
    std::getline(in, trace.deaf);
    return true;
  }
  if (verb == "window") {
    in >> std::hex >> trace.window >> trace.end;
    return !in.fail();
  }
  if (verb == "stream") {
    in >> text;
    StreamKind& stream = trace.streams[static_cast<size_t>(trace.stream(text))];
    in >> text;
    stream.own = text == "own";
    stream.blocking = text == "blocking";
    return !in.fail();
  }
  const auto known = kVerbs.find(verb);
  if (known == kVerbs.end()) return false;
  entry.verb = known->second;
  switch (entry.verb) {
    case Entry::reached:
    case Entry::queried:
    case Entry::await_device:
    case Entry::captured:
      in >> entry.number;
      break;
    case Entry::gone:
    case Entry::unmapped:
      break;
    default:
      in >> text;
      entry.stream = trace.stream(text);
  }
  if (entry.verb == Entry::record || entry.verb == Entry::follow || entry.verb == Entry::capture ||
      entry.verb == Entry::replay) {
    in >> entry.number;
  }
  if (in.fail()) return false;
  if (entry.verb == Entry::follow && in >> text) entry.name = trace.name(text);
  if (entry.verb == Entry::work) {
    in >> text;
    entry.name = trace.name(text);
    char role = 0;
    Access access{};
    while (in >> role >> std::hex >> access.at >> access.bytes) {
      access.writes = role == 'w';
      entry.accesses.push_back(access);
    }
  } else if (entry.verb == Entry::given || entry.verb == Entry::taken || entry.verb == Entry::gone ||
             entry.verb == Entry::unmapped) {
    Access access{0, 0, true};
    in >> std::hex >> access.at >> access.bytes;
    entry.accesses = {access};
    if (in.fail()) return false;
  }
  trace.entries.push_back(std::move(entry));
  return true;
}

}  // namespace races
