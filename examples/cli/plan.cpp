// tessera plan: what a job will do and need, before anything is loaded or connected.
#include <cstdio>

#include "commands.h"
#include "job.h"

namespace cli {

void plan(const Words& words) {
  const Arguments arguments = parse_arguments(words, {{"world", true}, {"program", false}});
  const std::string world_text = arguments.option("world", std::to_string(arguments.integer("ranks", 1)));
  size_t used = 0;
  long long world = 0;
  try {
    world = std::stoll(world_text, &used);
  } catch (const std::exception&) {
  }
  if (world < 1 || used != world_text.size())
    throw Failure("--world=" + world_text + " is not a number of ranks");
  const Model model = open_model(arguments);
  const auto print = [&](int32_t part) {
    std::fputs(read_text([&](char* buf, size_t cap, size_t* len, tessera_error* err) {
                 return tessera_plan_get_text(model.get(), arguments.config.get(), world, part, buf, cap, len,
                                              err);
               }).c_str(),
               stdout);
  };
  print(TESSERA_PLAN_SUMMARY);
  if (arguments.has("program")) print(TESSERA_PLAN_PROGRAM);
}

}  // namespace cli
