// What pictures of a timeline have in common: blocks instead of events, and how phases look.
#pragma once

#include <string>
#include <vector>

#include "schedule/timeline.h"

namespace tessera {

struct PhaseStyle {
  char letter;        // in text; collectives are small
  char fill;          // in text, behind the label
  int terminal;       // ANSI 256-colour background, of even micro-batches
  int terminal_odd;   // and of odd ones, so that neighbours differ
  const char* image;  // #rrggbb
};
const PhaseStyle& phase_style(Phase phase);
inline constexpr int kPhases = 10;

/// One phase of one micro-batch on a stage; units that follow each other are one block.
struct TimelineBlock {
  Phase phase;
  int microbatch;  ///< -1: none, or several that were joined
  int first_unit;
  int last_unit;
  int chunk;  ///< which of its rank's stages, from 0
  double start;
  double end;
};

/// The blocks of each rank's lane in the order of time. Events that take no time are left out.
std::vector<std::vector<TimelineBlock>> timeline_blocks(const Timeline& timeline, Lane lane);

/// The phases that appear in `rows`, ascending.
std::vector<Phase> phases_in(const std::vector<std::vector<TimelineBlock>>& rows);

/// Does any rank work on more than one stage?
bool has_chunks(const std::vector<std::vector<TimelineBlock>>& rows);

/// What a block shows: its micro-batch, of a collective the unit, or nothing.
std::string block_label(const TimelineBlock& block);

/// `value` with so many digits after the point, whatever the locale.
std::string fixed_text(double value, int digits);

}  // namespace tessera
