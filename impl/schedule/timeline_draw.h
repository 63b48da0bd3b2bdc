// Pictures of a timeline: for the terminal, as SVG, and as a trace that Perfetto opens.
#pragma once

#include <string>

#include "schedule/timeline.h"

namespace tessera {

/// A line per pp rank of at most `columns` characters (40 to 1000), scaled so that every label fits or the
/// step fills the line, with the rank's bubble at its end; under a single rank also its collectives. Below
/// them the bubble over all ranks and a legend. "F3-" is the forward of micro-batch 3, B a backward, I and W
/// its halves for inputs and weights, R a recomputed forward; lower case is work of a rank's second, fourth,
/// ... stage; dots are a bubble. What is narrower than a character shares it with its neighbours: the one
/// that takes most of it shows. With `colour` ANSI escapes tell the phases apart.
std::string draw_text(const Timeline& timeline, int columns, bool colour);

/// An SVG image with a row per rank: micro-batches as numbers, phases as colours (paler in a rank's second,
/// fourth, ... stage), collectives below each rank where they take time, what each block is as its tooltip.
/// Blocks too narrow to be seen apart run together, so that the image stays below some 30 MB. `title`
/// goes above. Errors (argument): more than 1024 ranks.
std::string draw_svg(const Timeline& timeline, const std::string& title);

/// Trace Event Format (JSON) for chrome://tracing and ui.perfetto.dev: a process per pp rank with threads for
/// computing, collectives and transfers from each peer; what takes no time is left out. A measure of the
/// timeline is `microseconds`; 0 scales the whole step to one second. Errors (argument): more than a million
/// events.
std::string draw_trace(const Timeline& timeline, double microseconds = 0);

}  // namespace tessera
