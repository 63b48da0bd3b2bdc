// Choice of the CPU loops by what the machine can run.
#include "kernels/cpu/table.h"

#include <initializer_list>

namespace tessera::kernels {

namespace portable {
extern const CpuTable table;
}
#if defined(__x86_64__)
namespace avx2 {
extern const CpuTable table;
}
namespace avx512 {
extern const CpuTable table;
}
#endif

namespace {

const CpuTable& widest() {
  for (CpuIsa isa : {CpuIsa::avx512, CpuIsa::avx2}) {
    if (const CpuTable* t = cpu_table(isa)) return *t;
  }
  return portable::table;
}

thread_local const CpuTable* chosen = nullptr;

}  // namespace

const CpuTable* cpu_table(CpuIsa isa) {
  if (isa == CpuIsa::portable) return &portable::table;
#if defined(__x86_64__)
  if (isa == CpuIsa::avx2 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    return &avx2::table;
  if (isa == CpuIsa::avx512 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")) {
    return &avx512::table;
  }
#endif
  return nullptr;
}

const CpuTable& cpu_table() {
  static const CpuTable& best = widest();
  return chosen ? *chosen : best;
}

CpuIsaGuard::CpuIsaGuard(const CpuTable& table) : previous_(chosen) {
  chosen = &table;
}
CpuIsaGuard::~CpuIsaGuard() {
  chosen = previous_;
}

}  // namespace tessera::kernels
