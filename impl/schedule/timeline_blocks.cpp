// Events joined to blocks, and the table of phases.
#include "schedule/timeline_blocks.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <map>

namespace tessera {
namespace {

// By Phase. Colours follow the figures of pipeline papers: forward blue, backward green, weights orange.
constexpr std::array<PhaseStyle, kPhases> kStyles{{{'F', '-', 75, 117, "#79aede"},
                                                   {'B', '=', 71, 114, "#78bd8a"},
                                                   {'I', '~', 73, 116, "#7ccdc6"},
                                                   {'W', '+', 215, 222, "#f0b765"},
                                                   {'R', '_', 146, 189, "#c3cfe6"},
                                                   {'g', '-', 176, 182, "#c79fd8"},
                                                   {'r', '=', 174, 217, "#e8998d"},
                                                   {'t', '-', 248, 252, "#b0b0b0"},
                                                   {'N', '-', 250, 250, "#d0d0d0"},
                                                   {'O', '-', 245, 245, "#9a9a9a"}}};

// The stage of a unit; all are one stage where the timeline does not say.
int stage_of(const std::vector<int>& starts, int unit) {
  if (starts.empty() || unit < 0) return 0;
  return static_cast<int>(std::upper_bound(starts.begin(), starts.end(), unit) - starts.begin());
}

// For each rank the stages it computes on, numbered from 0 in the order of the model.
std::vector<std::map<int, int>> chunks_of(const Timeline& timeline) {
  std::vector<std::map<int, int>> chunks(timeline.ranks.size());
  for (const TimelineEvent& event : timeline.events) {
    if (event.lane != Lane::compute || event.unit < 0) continue;
    chunks[event.rank].try_emplace(stage_of(timeline.stage_starts, event.unit), 0);
  }
  for (auto& stages : chunks) {
    int next = 0;
    for (auto& [stage, chunk] : stages) chunk = next++;
  }
  return chunks;
}

}  // namespace

const PhaseStyle& phase_style(Phase phase) {
  return kStyles[static_cast<size_t>(phase)];
}

std::vector<std::vector<TimelineBlock>> timeline_blocks(const Timeline& timeline, Lane lane) {
  const std::vector<std::map<int, int>> chunks = chunks_of(timeline);
  std::vector<std::vector<TimelineBlock>> rows(timeline.ranks.size());
  for (const TimelineEvent& event : timeline.events) {
    if (event.lane != lane || event.end <= event.start) continue;
    auto& row = rows[event.rank];
    const auto found = chunks[event.rank].find(stage_of(timeline.stage_starts, event.unit));
    const int chunk = found == chunks[event.rank].end() || event.unit < 0 ? 0 : found->second;
    if (lane == Lane::compute && !row.empty() && row.back().phase == event.phase &&
        row.back().microbatch == event.microbatch && row.back().chunk == chunk &&
        row.back().end == event.start) {
      row.back().end = event.end;
      row.back().first_unit = std::min(row.back().first_unit, event.unit);
      row.back().last_unit = std::max(row.back().last_unit, event.unit);
    } else {
      row.push_back({event.phase, event.microbatch, event.unit, event.unit, chunk, event.start, event.end});
    }
  }
  return rows;
}

std::vector<Phase> phases_in(const std::vector<std::vector<TimelineBlock>>& rows) {
  std::array<bool, kPhases> seen{};
  for (const auto& row : rows) {
    for (const TimelineBlock& block : row) seen[static_cast<size_t>(block.phase)] = true;
  }
  std::vector<Phase> phases;
  for (int phase = 0; phase < kPhases; ++phase) {
    if (seen[phase]) phases.push_back(static_cast<Phase>(phase));
  }
  return phases;
}

bool has_chunks(const std::vector<std::vector<TimelineBlock>>& rows) {
  for (const auto& row : rows) {
    for (const TimelineBlock& block : row) {
      if (block.chunk > 0) return true;
    }
  }
  return false;
}

std::string block_label(const TimelineBlock& block) {
  if (block.phase == Phase::gather || block.phase == Phase::reduce) return std::to_string(block.first_unit);
  return block.microbatch < 0 ? "" : std::to_string(block.microbatch);
}

std::string fixed_text(double value, int digits) {
  char text[512];
  const auto [end, error] = std::to_chars(text, text + sizeof text, value, std::chars_format::fixed, digits);
  return error == std::errc() ? std::string(text, end) : "0";
}

}  // namespace tessera
