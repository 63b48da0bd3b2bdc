// Timelines as text and as trace events.
#include "schedule/timeline_draw.h"

#include <algorithm>
#include <cctype>
#include <cmath>

#include "core/error.h"
#include "schedule/timeline_blocks.h"

namespace tessera {
namespace {

using Rows = std::vector<std::vector<TimelineBlock>>;

constexpr int kIdle = -1;

std::string percent(double part) {
  return fixed_text(100 * part, 1) + "%";
}

std::string padded_left(const std::string& text, size_t width) {
  return text.size() < width ? std::string(width - text.size(), ' ') + text : text;
}

// Columns of a measure of time: as few as show the label of every block, if the line has room for them.
double columns_per_time(const Rows& rows, double length, int room) {
  double wanted = 0;
  for (const auto& row : rows) {
    for (const TimelineBlock& block : row) {
      const auto label = static_cast<double>(block_label(block).size() + 2);
      wanted = std::max(wanted, label / (block.end - block.start));
    }
  }
  return length > 0 ? std::min(wanted, room / length) : 0;
}

// For each column the block that takes most of it, or kIdle.
std::vector<int> columns_of(const std::vector<TimelineBlock>& row, double scale, int width) {
  std::vector<int> owners(width, kIdle);
  std::vector<double> shares(width, 0);
  std::vector<double> busy(width, 0);
  for (size_t i = 0; i < row.size(); ++i) {
    const double begin = row[i].start * scale;
    const double end = row[i].end * scale;
    for (int at = static_cast<int>(begin); at < width && at < end; ++at) {
      const double share = std::min<double>(at + 1, end) - std::max<double>(at, begin);
      busy[at] += share;
      if (share <= shares[at]) continue;
      shares[at] = share;
      owners[at] = static_cast<int>(i);
    }
  }
  for (int at = 0; at < width; ++at) {
    if (busy[at] < 0.5) owners[at] = kIdle;
  }
  return owners;
}

std::string block_text(const TimelineBlock& block, int width, bool colour) {
  const PhaseStyle& style = phase_style(block.phase);
  const auto letter = static_cast<unsigned char>(style.letter);
  std::string text(1, block.chunk % 2 == 1 ? static_cast<char>(std::tolower(letter)) : style.letter);
  text += block_label(block);
  if (static_cast<int>(text.size()) > width) text.resize(1);
  text.resize(width, colour ? ' ' : style.fill);
  if (!colour) return text;
  const int background = block.microbatch % 2 != 0 ? style.terminal_odd : style.terminal;
  return cat("\x1b[38;5;16;48;5;", background, "m", text, "\x1b[0m");
}

std::string draw_row(const std::vector<TimelineBlock>& row, double scale, int width, bool colour) {
  const std::vector<int> owners = columns_of(row, scale, width);
  std::string line;
  for (int at = 0; at < width;) {
    int end = at + 1;
    while (end < width && owners[end] == owners[at]) ++end;
    line += owners[at] == kIdle ? std::string(end - at, '.') : block_text(row[owners[at]], end - at, colour);
    at = end;
  }
  return line;
}

std::string legend(const std::vector<Phase>& phases, bool chunks, bool colour) {
  std::string out = "       ";
  for (const Phase phase : phases) {
    const PhaseStyle& style = phase_style(phase);
    out += " ";
    out += colour ? cat("\x1b[38;5;16;48;5;", style.terminal, "m", style.letter, "\x1b[0m")
                  : std::string(1, style.letter);
    out += cat(" ", phase_name(phase), ",");
  }
  if (chunks) out += " lower case: a rank's 2nd, 4th, ... stage,";
  return out + " . bubble\n";
}

// Joins JSON objects.
class TraceEvents {
 public:
  void add(const std::string& object) {
    out_ += first_ ? "\n" : ",\n";
    out_ += object;
    first_ = false;
  }
  void name(const char* what, int pid, int tid, const std::string& name) {
    add(cat("{\"ph\":\"M\",\"name\":\"", what, "_name\",\"pid\":", pid, ",\"tid\":", tid,
            ",\"args\":{\"name\":\"", name, "\"}}"));
    add(cat("{\"ph\":\"M\",\"name\":\"", what, "_sort_index\",\"pid\":", pid, ",\"tid\":", tid,
            ",\"args\":{\"sort_index\":", *what == 'p' ? pid : tid, "}}"));
  }
  std::string take() { return std::move(out_); }

 private:
  std::string out_;
  bool first_ = true;
};

// Compute, collectives, then transfers from rank 0, 1, ...
int thread_of(const TimelineEvent& event) {
  return event.lane == Lane::transfers ? 2 + event.peer : static_cast<int>(event.lane);
}

std::string thread_name(int thread) {
  if (thread == 0) return "compute";
  if (thread == 1) return "collectives";
  return cat("from pp rank ", thread - 2);
}

}  // namespace

std::string draw_text(const Timeline& timeline, int columns, bool colour) {
  TESSERA_CHECK(columns >= 40 && columns <= 1000, argument, "columns=", columns,
                " must be between 40 and 1000");
  const Rows rows = timeline_blocks(timeline, Lane::compute);
  Rows drawn = rows;
  if (rows.size() == 1) {
    Rows collectives = timeline_blocks(timeline, Lane::collectives);
    if (!collectives[0].empty()) drawn.push_back(std::move(collectives[0]));
  }
  const size_t digits = std::to_string(rows.size()).size();
  const int room = columns - static_cast<int>(digits) - 15;
  const double scale = columns_per_time(drawn, timeline.length, room);
  const int width = std::min(room, static_cast<int>(std::lround(timeline.length * scale)));
  std::string out;
  for (size_t rank = 0; rank < rows.size(); ++rank) {
    out += "rank " + padded_left(std::to_string(rank), digits) + "  " +
           draw_row(rows[rank], scale, width, colour) +
           padded_left(percent(timeline.bubble(static_cast<int>(rank))), 8) + "\n";
  }
  if (drawn.size() > rows.size()) {
    out += "comm " + std::string(digits, ' ') + "  " + draw_row(drawn.back(), scale, width, colour) + "\n";
  }
  out += "bubble  " + percent(timeline.bubble()) + " of the step over all ranks\n";
  return out + legend(phases_in(drawn), has_chunks(rows), colour);
}

std::string draw_trace(const Timeline& timeline, double microseconds) {
  TESSERA_CHECK(timeline.events.size() <= 1'000'000, argument, "the trace has ", timeline.events.size(),
                " events: at most 1000000");
  double scale = microseconds;
  if (scale <= 0) scale = timeline.length > 0 ? 1e6 / timeline.length : 1;
  TraceEvents events;
  for (size_t rank = 0; rank < timeline.ranks.size(); ++rank) {
    events.name("process", static_cast<int>(rank), 0, cat("pp rank ", rank));
  }
  std::vector<std::vector<bool>> named(timeline.ranks.size(),
                                       std::vector<bool>(timeline.ranks.size() + 2, false));
  for (const TimelineEvent& event : timeline.events) {
    if (event.end <= event.start) continue;
    const int thread = thread_of(event);
    if (!named[event.rank][thread]) {
      named[event.rank][thread] = true;
      events.name("thread", event.rank, thread, thread_name(thread));
    }
    std::string name = phase_name(event.phase);
    std::string args;
    if (event.unit >= 0) {
      name += cat(" u", event.unit);
      args = cat("\"unit\":", event.unit);
    }
    if (event.microbatch >= 0) {
      name += cat(" mb", event.microbatch);
      args += cat(args.empty() ? "" : ",", "\"microbatch\":", event.microbatch);
    }
    events.add(cat("{\"ph\":\"X\",\"name\":\"", name, "\",\"cat\":\"", op_name(event.op), "\",\"pid\":",
                   event.rank, ",\"tid\":", thread, ",\"ts\":", fixed_text(event.start * scale, 3),
                   ",\"dur\":", fixed_text((event.end - event.start) * scale, 3), ",\"args\":{", args, "}}"));
  }
  return "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[" + events.take() + "\n]}\n";
}

}  // namespace tessera
