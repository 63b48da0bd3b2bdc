// Times each CUDA kernel beside the composition of ATen operations that it replaces, at the shapes of a Llama
// of 1.2 billion parameters and 16384 tokens. Prints a table, and writes one JSON object per row to a file.
//
//     gpu_kernels_bench [--filter text] [--repeats n] [--json file]
//
// Ends with status 77 and a message where there is no GPU. Times are medians between device events; the first
// rows measure what the machine gives at best, a copy and a matrix product, and memory-bound rows say which
// part of the copy's bandwidth they reach.
#include "kernels_bench.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/randn.h>
#include <c10/core/Event.h>
#include <c10/core/InferenceMode.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <fstream>
#include <functional>
#include <iomanip>
#include <iostream>
#include <string>
#include <vector>

#include "core/cuda_plugin.h"
#include "kernels/float8.h"

namespace tessera::bench {
namespace {

/// What the machine gives at best.
void add_ceilings(std::vector<Bench>& all) {
  const int64_t n = int64_t{1} << 30;
  all.push_back({"ceiling: copy 4 GiB", 8.0 * static_cast<double>(n), true, [=]() -> Pair {
                   const at::Tensor a = at::randn({n}, kF32), b = at::empty({n}, kF32);
                   return {[=] { b.copy_(a); }, {}};
                 }});
  all.push_back({"ceiling: matrix product 8192^3 bf16", 2.0 * 8192 * 8192 * 8192, false, [=]() -> Pair {
                   const at::Tensor a = bf16({8192, 8192}), b = bf16({8192, 8192}),
                                    c = at::empty({8192, 8192}, kBf16);
                   return {[=] {
                             at::Tensor out = c;
                             at::mm_out(out, a, b);
                           },
                           {}};
                 }});
}

/// Median milliseconds per call, between events on the device.
double median_ms(const Run& run, int repeats) {
  const c10::impl::VirtualGuardImpl device(at::kCUDA);
  const c10::Stream stream = device.getStream(c10::Device(at::kCUDA, 0));
  for (int i = 0; i < 3; ++i) run();
  std::vector<double> times;
  for (int i = 0; i < repeats; ++i) {
    c10::Event begin(at::kCUDA, c10::EventFlag::BACKEND_DEFAULT),
        end(at::kCUDA, c10::EventFlag::BACKEND_DEFAULT);
    begin.record(stream);
    run();
    end.record(stream);
    end.synchronize();
    times.push_back(begin.elapsedTime(end));
  }
  std::nth_element(times.begin(), times.begin() + static_cast<int64_t>(times.size() / 2), times.end());
  return times[times.size() / 2];
}

std::vector<Bench> all_benches() {
  std::vector<Bench> all;
  add_ceilings(all);
  add_norms(all);
  add_rope_and_mlp(all);
  add_loss(all);
  add_products(all);
  add_float8(all);
  add_parameters(all);
  add_rows(all);
  add_attentions(all);
  return all;
}

struct Row {
  std::string name, unit, aten_error;
  double ms = 0, rate = 0, share = 0, aten_ms = 0;
};

double timed(const Run& run, int repeats, std::string& error) {
  if (!run) return 0;
  try {
    return median_ms(run, repeats);
  } catch (const std::exception& e) {
    error = e.what();
    error = error.substr(0, error.find('\n'));
    return 0;
  }
}

void print(const Row& r, std::ostream& json) {
  std::cout << std::left << std::setw(66) << r.name << std::right << std::fixed << std::setprecision(3)
            << std::setw(9) << r.ms << " ms" << std::setprecision(1) << std::setw(9) << r.rate << " "
            << r.unit;
  if (r.share > 0) std::cout << std::setw(7) << 100 * r.share << " % of copy";
  if (r.aten_ms > 0) std::cout << std::setprecision(2) << std::setw(9) << r.aten_ms / r.ms << " x the other";
  if (!r.aten_error.empty()) std::cout << "  the other failed: " << r.aten_error;
  std::cout << std::endl;
  json << "{\"name\":\"" << r.name << "\",\"ms\":" << r.ms << ",\"rate\":" << r.rate << ",\"unit\":\""
       << r.unit << "\",\"share_of_copy\":" << r.share << ",\"other_ms\":" << r.aten_ms << "}\n"
       << std::flush;
}

int main_of(int argc, char** argv) {
  std::string filter, path;
  int repeats = 20;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (!std::strcmp(argv[i], "--filter")) filter = argv[i + 1];
    if (!std::strcmp(argv[i], "--json")) path = argv[i + 1];
    if (!std::strcmp(argv[i], "--repeats")) repeats = std::max(1, std::atoi(argv[i + 1]));
  }
  const CudaPlugin* plugin = cuda_plugin();  // before the first tensor
  if (const std::string reason = cuda_unavailable_reason(); !reason.empty()) {
    std::cout << "no measurement: " << reason << std::endl;
    return 77;
  }
  char name[256] = "";
  int64_t total = 0, available = 0;
  plugin->device_info(0, name, sizeof name, &total, &available);
  std::cout << name << ", " << total / (int64_t{1} << 20) << " MiB, " << plugin->versions() << std::endl;
  std::ofstream file;
  if (!path.empty()) file.open(path);
  file << "{\"device\":\"" << name << "\",\"versions\":\"" << plugin->versions() << "\"}\n";
  const c10::InferenceMode no_graph;
  double copy_rate = 0;
  int failures = 0;
  for (const Bench& bench : all_benches()) {
    const bool ceiling = bench.name.starts_with("ceiling");
    if (!ceiling && bench.name.find(filter) == std::string::npos) continue;
    Row row;
    row.name = bench.name;
    std::string error;
    const Pair pair = bench.make();
    row.ms = timed(pair.ours, repeats, error);
    row.aten_ms = timed(pair.aten, repeats, row.aten_error);
    if (!error.empty()) {
      std::cout << bench.name << "  FAILED: " << error << std::endl;
      ++failures;
      continue;
    }
    row.unit = bench.memory ? "GB/s" : "TF/s";
    row.rate = bench.work / row.ms / (bench.memory ? 1e6 : 1e9);
    if (ceiling && bench.memory) copy_rate = row.rate;
    if (bench.memory && copy_rate > 0) row.share = row.rate / copy_rate;
    print(row, file);
  }
  return failures == 0 ? 0 : 1;
}

}  // namespace
}  // namespace tessera::bench

int main(int argc, char** argv) {
  try {
    return tessera::bench::main_of(argc, argv);
  } catch (const std::exception& e) {
    std::cerr << e.what() << std::endl;
    return 1;
  }
}
