// Pictures of timelines: what they say, that they fit, that other programs can read them.
#include "schedule/timeline_draw.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <clocale>
#include <map>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>
#include <sstream>

#include "core/error.h"
#include "schedule/compile.h"

namespace tessera {
namespace {

using S = PipelineSchedule;

struct Pipe {
  S schedule;
  int ranks;
  int per_rank;
  int microbatches;
  double collective = 0;
  double transfer = 0;
};

Timeline timeline_of(const Pipe& pipe) {
  const int stages = pipe.ranks * pipe.per_rank;
  StepOptions step;
  step.units.resize(stages + 1);
  step.microbatches = pipe.microbatches;
  step.storage.reshard.kind = ReshardPolicy::Kind::never;
  std::vector<int> starts;
  for (int stage = 0; stage < stages; ++stage) starts.push_back(stage);
  const std::vector<Program> programs = compile_pipeline(
      step, make_pipeline_order(pipe.schedule, pipe.ranks, pipe.per_rank, pipe.microbatches), starts);
  RelativeCosts costs;
  costs.units.assign(stages, 1.0);
  costs.units.push_back(0);
  costs.collective = pipe.collective;
  costs.transfer = pipe.transfer;
  Timeline timeline = make_timeline(programs, relative_cost(costs));
  timeline.stage_starts = starts;
  return timeline;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

size_t count(const std::string& text, const std::string& part) {
  size_t found = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

std::string without_escapes(const std::string& text) {
  return std::regex_replace(text, std::regex("\x1b\\[[0-9;]*m"), "");
}

TEST(TimelineText, ShowsWhoDoesWhatWhen) {
  EXPECT_EQ(draw_text(timeline_of({S::one_f_one_b, 2, 1, 3}), 80, false),
            "rank 0  F0-F1-......B0====F2-B1====...B2====   25.0%\n"
            "rank 1  ...F0-B0====F1-B1====F2-B2====......   25.0%\n"
            "bubble  25.0% of the step over all ranks\n"
            "        F forward, B backward, . bubble\n");
  EXPECT_EQ(
      draw_text(timeline_of({S::zero_bubble_v, 2, 2, 2}), 80, false),
      "rank 0  F0-F1-...f0-i0~w0+f1-i1~w1+I0~W0+...I1~W1+   14.3%\n"
      "rank 1  ...F0-f0-F1-f1-i0~w0+I0~W0+i1~w1+I1~W1+...   14.3%\n"
      "bubble  14.3% of the step over all ranks\n"
      "        F forward, I backward_input, W backward_weight, lower case: a rank's 2nd, 4th, ... stage, "
      ". bubble\n");
}

TEST(TimelineText, KeepsToItsColumns) {
  for (const int columns : {40, 41, 80, 132, 1000}) {
    for (const Pipe& pipe : {Pipe{S::gpipe, 1, 1, 1}, Pipe{S::one_f_one_b, 4, 1, 8},
                             Pipe{S::interleaved, 4, 3, 64}, Pipe{S::zero_bubble, 12, 1, 300, 0.3, 0.7}}) {
      const std::vector<std::string> lines = lines_of(draw_text(timeline_of(pipe), columns, false));
      ASSERT_GE(lines.size(), pipe.ranks + 2U);
      for (int rank = 0; rank < pipe.ranks; ++rank) {
        EXPECT_LE(lines[rank].size(), static_cast<size_t>(columns));
        EXPECT_EQ(lines[rank].size(), lines[0].size());
      }
    }
  }
  for (const int columns : {-1, 0, 39, 1001})
    EXPECT_THROW(draw_text(timeline_of({S::gpipe, 2, 1, 2}), columns, false), Error);
}

TEST(TimelineText, DotsAreTheBubbleEvenWhereBlocksAreNarrowerThanACharacter) {
  const Timeline timeline = timeline_of({S::gpipe, 8, 1, 400});
  const std::vector<std::string> lines = lines_of(draw_text(timeline, 100, false));
  for (int rank = 0; rank < 8; ++rank) {
    const std::string row = lines[rank].substr(8, lines[rank].size() - 16);
    const double dots = static_cast<double>(std::count(row.begin(), row.end(), '.')) / row.size();
    EXPECT_NEAR(dots, timeline.bubble(rank), 0.04) << lines[rank];
  }
}

TEST(TimelineText, ColourChangesNothingButColour) {
  const Timeline timeline = timeline_of({S::zero_bubble_v, 3, 2, 6, 0.1, 0.1});
  const std::string plain = draw_text(timeline, 120, false);
  const std::string colour = draw_text(timeline, 120, true);
  EXPECT_EQ(plain.find('\x1b'), std::string::npos);
  EXPECT_EQ(count(colour, "\x1b[38;5;16;48;5;"), count(colour, "\x1b[0m")) << "every colour ends";
  const std::vector<std::string> left = lines_of(plain);
  const std::vector<std::string> right = lines_of(without_escapes(colour));
  ASSERT_EQ(left.size(), right.size());
  for (size_t i = 0; i < left.size(); ++i) EXPECT_EQ(left[i].size(), right[i].size());
}

TEST(TimelineText, ASingleRankShowsItsCollectives) {
  const std::string text = draw_text(timeline_of({S::gpipe, 1, 1, 2, 1.0}), 80, false);
  EXPECT_NE(text.find("\ncomm    g0-"), std::string::npos) << text;
  EXPECT_NE(text.find("r reduce"), std::string::npos) << text;
}

TEST(TimelineSvg, ShowsEveryBlockWithItsMicrobatch) {
  const Pipe pipe{S::zero_bubble, 4, 1, 6, 0.2, 0.1};
  const std::string svg = draw_svg(timeline_of(pipe), "a < b & c");
  EXPECT_EQ(svg.rfind("<svg xmlns=\"http://www.w3.org/2000/svg\"", 0), 0U);
  EXPECT_EQ(svg.substr(svg.size() - 7), "</svg>\n");
  EXPECT_NE(svg.find(">a &lt; b &amp; c</text>"), std::string::npos);
  EXPECT_EQ(count(svg, "<text"), count(svg, "</text>"));
  EXPECT_EQ(count(svg, "<title>"), count(svg, "</title></rect>"));
  EXPECT_EQ(count(svg, "<title>forward of micro-batch 3, "), 4U);
  EXPECT_EQ(count(svg, "<title>backward_weight of micro-batch 5, "), 4U);
  EXPECT_EQ(count(svg, "<title>gather, u0, "), 1U);
  EXPECT_EQ(count(svg, ">rank 3</text>"), 1U);
  // A number in each of forward, backward_input and backward_weight on each rank.
  EXPECT_EQ(count(svg, ">5</text>"), 12U);
}

TEST(TimelineSvg, StaysBoundedWhereTheScheduleIsLong) {
  const std::string svg = draw_svg(timeline_of({S::one_f_one_b, 64, 1, 2000}), "long");
  EXPECT_LT(svg.size(), 30'000'000U);
  EXPECT_EQ(count(svg, ">rank 63</text>"), 1U);
  Timeline many;
  many.ranks.resize(1025);
  EXPECT_THROW(draw_svg(many, ""), Error);
}

TEST(TimelineTrace, IsJsonInWhichNoThreadDoesTwoThingsAtOnce) {
  const Pipe pipe{S::dual_pipe_v, 3, 2, 7, 0.4, 0.3};
  const Timeline timeline = timeline_of(pipe);
  const nlohmann::json trace = nlohmann::json::parse(draw_trace(timeline));
  std::set<std::string> threads;
  std::map<std::pair<int, int>, double> ends;
  size_t slices = 0;
  double last = 0;
  for (const auto& event : trace.at("traceEvents")) {
    if (event.at("ph") == "M") {
      if (event.at("name") == "thread_name") threads.insert(event.at("args").at("name"));
      continue;
    }
    ASSERT_EQ(event.at("ph"), "X");
    ++slices;
    double& end = ends[{event.at("pid"), event.at("tid")}];
    EXPECT_GE(event.at("ts").get<double>(), end - 0.002) << event;
    end = event.at("ts").get<double>() + event.at("dur").get<double>();
    last = std::max(last, end);
    EXPECT_TRUE(event.at("args").contains("unit")) << event;
  }
  const auto takes_time = [](const TimelineEvent& event) { return event.end > event.start; };
  EXPECT_EQ(slices,
            static_cast<size_t>(std::count_if(timeline.events.begin(), timeline.events.end(), takes_time)));
  EXPECT_NEAR(last, 1e6, 1) << "the whole step is scaled to a second";
  EXPECT_EQ(threads, (std::set<std::string>{"compute", "collectives", "from pp rank 0", "from pp rank 1",
                                            "from pp rank 2"}));
  const nlohmann::json scaled = nlohmann::json::parse(draw_trace(timeline, 10));
  last = 0;
  for (const auto& event : scaled.at("traceEvents")) {
    if (event.at("ph") == "X")
      last = std::max(last, event.at("ts").get<double>() + event.at("dur").get<double>());
  }
  EXPECT_NEAR(last, 10 * timeline.length, 0.01);
}

TEST(TimelineTrace, NumbersDoNotDependOnTheLocale) {
  const Timeline timeline = timeline_of({S::one_f_one_b, 2, 1, 3, 0.25, 0.1});
  const std::string before = draw_svg(timeline, "t") + draw_trace(timeline);
  const std::string saved = std::setlocale(LC_ALL, nullptr);
  for (const char* name : {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8"}) std::setlocale(LC_ALL, name);
  EXPECT_EQ(draw_svg(timeline, "t") + draw_trace(timeline), before);
  std::setlocale(LC_ALL, saved.c_str());
}

}  // namespace
}  // namespace tessera
