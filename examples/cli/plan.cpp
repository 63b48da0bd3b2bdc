// tessera plan: what a job will do and need, before anything is loaded or connected.
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "commands.h"
#include "job.h"

namespace cli {
namespace {

long long world_size(const Arguments& arguments) {
  const long long ranks = arguments.integer("world", arguments.integer("ranks", 1));
  const std::string text = arguments.option("world", std::to_string(ranks));
  size_t used = 0;
  long long world = 0;
  try {
    world = std::stoll(text, &used);
  } catch (const std::exception&) {
  }
  if (world < 1 || used != text.size()) throw Failure("--world=" + text + " is not a number of ranks");
  return world;
}

double number(const Arguments& arguments, const std::string& option) {
  const std::string text = arguments.option(option, "0");
  size_t used = 0;
  double value = 0;
  try {
    value = std::stod(text, &used);
  } catch (const std::exception&) {
    used = std::string::npos;
  }
  if (used != text.size()) throw Failure("--" + option + "=" + text + " is not a number");
  return value;
}

// Characters in a line of the terminal, or 100 where there is none.
int terminal_columns() {
  winsize size{};
  if (isatty(STDOUT_FILENO) == 0 || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
    return 100;
  return std::clamp<int>(size.ws_col, 40, 1000);
}

// https://no-color.org
bool terminal_has_colours() {
  const char* no = std::getenv("NO_COLOR");
  const char* term = std::getenv("TERM");
  return isatty(STDOUT_FILENO) != 0 && (no == nullptr || *no == '\0') && term != nullptr &&
         std::string(term) != "dumb";
}

void write_file(const std::string& path, const std::string& text) {
  std::ofstream out(path, std::ios::binary);
  out << text;
  out.close();
  if (!out) throw Failure("cannot write " + path);
}

class Timelines {
 public:
  Timelines(const Arguments& arguments, const Model& model, long long world)
      : arguments_(arguments), model_(model), world_(world) {
    tessera_timeline_options_init(&options_, sizeof options_);
    options_.columns = terminal_columns();
    options_.backward = number(arguments, "timeline-backward");
    options_.collective = number(arguments, "timeline-collective");
    options_.transfer = number(arguments, "timeline-transfer");
  }

  std::string draw(int32_t format) {
    options_.format = format;
    return read_text([&](char* buf, size_t cap, size_t* len, tessera_error* err) {
      return tessera_plan_get_timeline(model_.get(), arguments_.config.get(), world_, &options_, buf, cap,
                                       len, err);
    });
  }

 private:
  const Arguments& arguments_;
  const Model& model_;
  long long world_;
  tessera_timeline_options options_{};
};

}  // namespace

void plan(const Words& words) {
  const Arguments arguments = parse_arguments(words, {{"world", true},
                                                      {"program", false},
                                                      {"summary", false},
                                                      {"json", false},
                                                      {"timeline", false},
                                                      {"timeline-svg", true},
                                                      {"timeline-trace", true},
                                                      {"timeline-backward", true},
                                                      {"timeline-collective", true},
                                                      {"timeline-transfer", true}});
  const long long world = world_size(arguments);
  const Model model = open_model(arguments);
  const auto print = [&](int32_t part) {
    std::fputs(read_text([&](char* buf, size_t cap, size_t* len, tessera_error* err) {
                 return tessera_plan_get_text(model.get(), arguments.config.get(), world, part, buf, cap, len,
                                              err);
               }).c_str(),
               stdout);
  };
  const bool search = !arguments.text("cluster").empty();
  if (arguments.has("json") && !search) throw Failure("--json is for plans with cluster=...");
  if (search) print(arguments.has("json") ? TESSERA_PLAN_SEARCH_JSON : TESSERA_PLAN_SEARCH);
  if (!search || arguments.has("summary")) print(TESSERA_PLAN_SUMMARY);
  if (arguments.has("program")) print(TESSERA_PLAN_PROGRAM);
  Timelines timelines(arguments, model, world);
  if (arguments.has("timeline")) {
    const std::string text =
        timelines.draw(terminal_has_colours() ? TESSERA_TIMELINE_COLOUR : TESSERA_TIMELINE_TEXT);
    std::fputs(("\n" + text).c_str(), stdout);
  }
  if (arguments.has("timeline-svg"))
    write_file(arguments.option("timeline-svg"), timelines.draw(TESSERA_TIMELINE_SVG));
  if (arguments.has("timeline-trace"))
    write_file(arguments.option("timeline-trace"), timelines.draw(TESSERA_TIMELINE_TRACE));
}

}  // namespace cli
