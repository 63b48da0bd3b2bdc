// Races in a trace of the dry CUDA runtime: pairs of accesses to the same memory, one of them a write, that
// nothing orders on a device. races TRACE [--without N | --sweep FIRST LAST]; see README.md.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>
#include <string>

#include "shadow.h"
#include "trace_file.h"

namespace races {
namespace {

/// One pass over a trace, perhaps with waits of streams left out.
class Check {
 public:
  explicit Check(const Trace& trace, std::set<size_t> ignored = {})
      : trace_(trace), ignored_(std::move(ignored)), streams_(trace.streams.size()) {}

  /// Which pairs of works race, each with how often and an example.
  struct Race {
    size_t count = 0;
    std::string example;
  };

  void run() {
    for (at_ = 0; at_ < trace_.entries.size(); ++at_) step(trace_.entries[at_]);
  }
  const std::map<std::string, Race>& races() const { return races_; }
  /// The waits of streams that ordered nothing that was not ordered already, by entry.
  const std::set<size_t>& idle() const { return idle_; }

 private:
  struct State {
    Clock clock;
    int capture = 0;
    Clock inner;  // under capture
  };
  struct Event {
    int capture = 0;
    Clock clock;
  };

  /// What a thread knows to be over: what it has waited for, which it may count on, and what it has found
  /// when it asked, which was so by chance.
  struct Host {
    Clock waited, found;
  };

  Host& host(int thread) {
    const auto [at, fresh] = hosts_.try_emplace(thread);
    if (fresh) at->second = {any_host_, any_host_};  // it was started by one that knew as much
    return at->second;
  }

  void host_finds(int thread, const Clock& clock) {
    host(thread).found.join(clock);
    any_host_found_.join(clock);
  }

  void host_learns(int thread, const Clock& clock) {
    host(thread).waited.join(clock);
    any_host_.join(clock);
    host_finds(thread, clock);
  }

  /// An abort that ends what is on a stream: threads that go on behind it know.
  void everybody_learns(const Clock& clock) {
    for (const auto& [thread, known] : hosts_) host_learns(thread, clock);
  }

  /// What a stream comes after when something is put on it now.
  Clock& order(const Entry& entry, int number) {
    State& state = streams_[static_cast<size_t>(number)];
    if (state.capture != 0) return state.inner;
    state.clock.join(host(entry.thread).waited);
    const StreamKind& kind = trace_.streams[static_cast<size_t>(number)];
    if (kind.own || kind.blocking) {
      // A device's own stream and the blocking ones follow each other.
      for (size_t other = 0; other < streams_.size(); ++other) {
        const StreamKind& its = trace_.streams[other];
        if (its.device == kind.device && (kind.own ? its.blocking : its.own))
          state.clock.join(streams_[other].clock);
      }
    }
    return state.clock;
  }

  void step(const Entry& entry) {
    switch (entry.verb) {
      case Entry::work:
        return work(entry);
      case Entry::record: {
        const Clock& clock = order(entry, entry.stream);
        events_[entry.number] = {streams_[static_cast<size_t>(entry.stream)].capture, clock};
        return;
      }
      case Entry::follow:
        return follow(entry);
      case Entry::reached:
        if (events_[entry.number].capture == 0) host_learns(entry.thread, events_[entry.number].clock);
        return;
      case Entry::queried:
        if (events_[entry.number].capture == 0) host_finds(entry.thread, events_[entry.number].clock);
        return;
      case Entry::await:
        return host_learns(entry.thread, order(entry, entry.stream));
      case Entry::ended:
        return everybody_learns(order(entry, entry.stream));
      case Entry::await_device:
        for (size_t s = 0; s < streams_.size(); ++s) {
          if (trace_.streams[s].device == entry.number) host_learns(entry.thread, streams_[s].clock);
        }
        return;
      case Entry::given:
        return given(entry);
      case Entry::taken:
        return taken(entry);
      case Entry::gone:
        memory_.forget(entry.accesses[0].at, entry.accesses[0].bytes, [](const Stamp&) { return true; });
        return;
      case Entry::unmapped: {
        // Unlike cudaFree this waits for nothing.
        const Clock& found = host(entry.thread).found;
        return memory_.outstanding(
            entry.accesses[0].at, entry.accesses[0].bytes,
            [&](const Stamp& before) { return found.of(before.stream) >= before.time; },
            [&](const Stamp& before, bool wrote, uintptr_t where) {
              report(before, wrote, "unmaps", where);
            });
      }
      case Entry::capture:
        streams_[static_cast<size_t>(entry.stream)].capture = entry.number;
        streams_[static_cast<size_t>(entry.stream)].inner = {};
        return;
      case Entry::captured:
        for (State& state : streams_) {
          if (state.capture == entry.number) state.capture = 0;
        }
        return;
      case Entry::replay:
        return replay(entry);
    }
  }

  void follow(const Entry& entry) {
    const Event& event = events_[entry.number];
    State& state = streams_[static_cast<size_t>(entry.stream)];
    if (event.capture != 0 && state.capture == 0) {
      state.capture = event.capture;
      state.inner = {};
    }
    Clock& clock = order(entry, entry.stream);
    if (clock.covers(event.clock)) idle_.insert(at_);
    if (ignored_.count(at_) == 0) clock.join(event.clock);
  }

  void work(const Entry& entry) {
    Clock& clock = order(entry, entry.stream);
    clock.advance(entry.stream);
    const int capture = streams_[static_cast<size_t>(entry.stream)].capture;
    Shadow& memory = capture != 0 ? graphs_[capture] : memory_;
    const Stamp stamp{entry.stream, clock.of(entry.stream), at_};
    // Reads first: what a work both reads and writes is no race with itself.
    for (const bool writes : {false, true}) {
      for (const Access& access : entry.accesses) {
        if (access.writes == writes) touch(memory, access, stamp, clock);
      }
    }
  }

  void touch(Shadow& memory, const Access& access, const Stamp& stamp, const Clock& clock) {
    const bool pinned = access.at < trace_.window || access.at >= trace_.end;
    memory.access(
        access.at, access.bytes, access.writes, stamp,
        [&](const Stamp& before) {
          // Pinned memory goes from hand to hand through the host, which asks the device before.
          return clock.of(before.stream) >= before.time ||
                 (pinned && any_host_found_.of(before.stream) >= before.time);
        },
        [&](const Stamp& before, bool wrote, uintptr_t where) {
          const bool given = trace_.entries[at_].verb == Entry::given;
          report(before, wrote, given ? "gives away" : access.writes ? "writes" : "reads", where);
        });
  }

  /// A block may be used behind what its stream was given before: that may still work on it for whom it
  /// belonged to, so other streams must come behind it too.
  void given(const Entry& entry) {
    if (streams_[static_cast<size_t>(entry.stream)].capture != 0) return;
    Clock& clock = order(entry, entry.stream);
    clock.advance(entry.stream);
    touch(memory_, entry.accesses[0], {entry.stream, clock.of(entry.stream), at_}, clock);
  }

  /// From now on the block may be used behind what its stream was given, so others must be done with it by
  /// then. What any thread knows to be over is over for whoever gets it: it may have let go of it for that
  /// reason, and another thread then was the last to hold it.
  void taken(const Entry& entry) {
    const Access& block = entry.accesses[0];
    if (streams_[static_cast<size_t>(entry.stream)].capture != 0) return;
    const auto known = [&](const Stamp& before) { return any_host_found_.of(before.stream) >= before.time; };
    const Clock& clock = order(entry, entry.stream);
    memory_.outstanding(
        block.at, block.bytes,
        [&](const Stamp& before) { return clock.of(before.stream) >= before.time || known(before); },
        [&](const Stamp& before, bool wrote, uintptr_t where) { report(before, wrote, "frees", where); });
    memory_.forget(block.at, block.bytes, known);
  }

  void replay(const Entry& entry) {
    Clock& clock = order(entry, entry.stream);
    clock.advance(entry.stream);
    const Stamp stamp{entry.stream, clock.of(entry.stream), at_};
    graphs_[entry.number].each(
        [&](uintptr_t at, size_t bytes, bool wrote) { touch(memory_, {at, bytes, wrote}, stamp, clock); });
  }

  std::string text_of(size_t work) const {
    const Entry& entry = trace_.entries[work];
    if (entry.stream < 0) return "the host";
    const std::string& stream = trace_.streams[static_cast<size_t>(entry.stream)].name;
    return (entry.verb == Entry::work ? trace_.names[static_cast<size_t>(entry.name)]
            : entry.verb == Entry::given || entry.verb == Entry::taken ? std::string("the allocator")
                                                                       : std::string("a graph")) +
           " on stream " + stream;
  }

  /// `wrote`: what came before did more than read.
  void report(const Stamp& before, bool wrote, const char* now, uintptr_t where) {
    const bool gave = trace_.entries[before.work].verb == Entry::given;
    const std::string pair = text_of(at_) + " " + now + " what " + text_of(before.work) +
                             (gave    ? " gave"
                              : wrote ? " writes"
                                      : " reads") +
                             ", and nothing orders them";
    Race& race = races_[pair];
    if (race.count++ > 0) return;
    std::ostringstream out;
    out << "lines " << before.work << " and " << at_ << " of the trace, address " << std::hex << where;
    race.example = out.str();
  }

  const Trace& trace_;
  const std::set<size_t> ignored_;
  size_t at_ = 0;
  std::vector<State> streams_;
  std::map<int, Host> hosts_;  // by thread
  Clock any_host_, any_host_found_;
  std::map<int, Event> events_;
  Shadow memory_;
  std::map<int, Shadow> graphs_;
  std::map<std::string, Race> races_;
  std::set<size_t> idle_;
};

/// What happened on a stream next to an entry, for people.
std::string neighbour(const Trace& trace, size_t at, int stream, int step) {
  for (size_t i = at; i < trace.entries.size(); i += static_cast<size_t>(step)) {
    const Entry& entry = trace.entries[i];
    if (entry.stream == stream && entry.verb == Entry::work)
      return trace.names[static_cast<size_t>(entry.name)];
  }
  return "nothing";
}

/// "a wait of stream 0.4, before all_gather, for stream 0.0 behind copy".
std::string describe(const Trace& trace, size_t wait) {
  const Entry& entry = trace.entries[wait];
  std::string out = "stream " + trace.streams[static_cast<size_t>(entry.stream)].name + " before " +
                    neighbour(trace, wait, entry.stream, 1);
  for (size_t i = wait; i-- > 0;) {
    const Entry& record = trace.entries[i];
    if (record.verb != Entry::record || record.number != entry.number) continue;
    return out + ", for stream " + trace.streams[static_cast<size_t>(record.stream)].name + " behind " +
           neighbour(trace, i, record.stream, -1);
  }
  return out;
}

int print(const Check& check) {
  for (const auto& [pair, race] : check.races())
    std::printf("race: %s (%zu times; %s)\n", pair.c_str(), race.count, race.example.c_str());
  return check.races().empty() ? 0 : 1;
}

/// Leaves out one wait of a stream after the other, between two parts of the trace in percent, then all waits
/// of one place in the code after the other, and says of which the check notices nothing.
int sweep(const Trace& trace, size_t first, size_t last) {
  Check whole(trace);
  whole.run();
  if (print(whole) != 0) return 1;
  size_t idle = 0, found = 0, waits = 0, in_use = 0, missed_places = 0;
  std::map<std::string, size_t> unnoticed;
  std::map<int, std::set<size_t>> places;
  for (size_t i = 0; i < trace.entries.size(); ++i) {
    if (trace.entries[i].verb != Entry::follow) continue;
    places[trace.entries[i].name].insert(i);
    if (i < trace.entries.size() * first / 100 || i >= trace.entries.size() * last / 100) continue;
    ++waits;
    idle += whole.idle().count(i);
    if (whole.idle().count(i) > 0) continue;
    Check without(trace, {i});
    without.run();
    found += !without.races().empty();
    if (without.races().empty()) ++unnoticed[describe(trace, i)];
  }
  std::printf(
      "%zu waits of streams, %zu of them for what was ordered already; of %zu others %zu are missed when "
      "left out\n",
      waits, idle, waits - idle, found);
  std::string quiet;
  for (const auto& [place, its] : places) {
    if (std::all_of(its.begin(), its.end(), [&](size_t wait) { return whole.idle().count(wait) > 0; }))
      continue;
    ++in_use;
    Check without(trace, its);
    without.run();
    missed_places += !without.races().empty();
    if (without.races().empty())
      quiet += "not missed anywhere: " + trace.names[static_cast<size_t>(place)] + ", " +
               std::to_string(its.size()) + " times, as " + describe(trace, *its.begin()) + "\n";
  }
  std::printf("%zu places of the code order something by waits, %zu are missed when left out\n%s", in_use,
              missed_places, quiet.c_str());
  for (const auto& [wait, count] : unnoticed)
    std::printf("not missed: %s (%zu times)\n", wait.c_str(), count);
  return 0;
}

int main(int count, char** arguments) {
  if (count < 2) {
    std::fprintf(stderr, "races TRACE [--without N | --sweep FIRST LAST]\n");
    return 2;
  }
  Trace trace;
  std::ifstream file(arguments[1]);
  size_t number = 0;
  for (std::string line; std::getline(file, line);) {
    ++number;
    if (add_line(trace, line)) continue;
    std::fprintf(stderr, "%s:%zu: %s\n", arguments[1], number, line.c_str());
    return 2;
  }
  if (number == 0 || !trace.deaf.empty()) {
    std::fprintf(stderr, "%s: %s\n", arguments[1], number == 0 ? "nothing in it" : trace.deaf.c_str());
    return 2;
  }
  const std::string option = count > 2 ? arguments[2] : "";
  if (option == "--sweep" && count == 5)
    return sweep(trace, std::strtoul(arguments[3], nullptr, 10), std::strtoul(arguments[4], nullptr, 10));
  const size_t wanted =
      option == "--without" && count == 4 ? std::strtoul(arguments[3], nullptr, 10) : SIZE_MAX;
  std::set<size_t> ignored;
  size_t waits = 0;
  for (size_t i = 0; i < trace.entries.size(); ++i) {
    if (trace.entries[i].verb == Entry::follow && waits++ == wanted) ignored.insert(i);
  }
  for (const size_t wait : ignored) std::printf("without: %s\n", describe(trace, wait).c_str());
  Check check(trace, ignored);
  check.run();
  const int result = print(check);
  std::printf("%zu lines, %zu streams, %zu waits of streams, %zu of them idle, %zu races\n", number,
              trace.streams.size(), waits, check.idle().size(), check.races().size());
  return result;
}

}  // namespace
}  // namespace races

int main(int count, char** arguments) {
  return races::main(count, arguments);
}
