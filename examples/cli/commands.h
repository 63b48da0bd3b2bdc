// The commands of the tessera program. Each takes the words after its name and throws Failure.
#pragma once

#include <string>
#include <vector>

namespace cli {

using Words = std::vector<std::string>;

void train(const Words& words);
void evaluate(const Words& words);
void generate(const Words& words);
void pack(const Words& words);
void plan(const Words& words);
void show_config(const Words& words);

}  // namespace cli
