// Every function of the interface, misused in every way that can be generated from the headers: a status,
// never a crash, and outputs untouched.
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "tessera/tessera.h"

namespace {

tessera_error err;

// Memory for outputs, with a pattern that shows whether a failing call wrote to it.
alignas(16) unsigned char scratch_memory[1024];
constexpr unsigned char kPattern = 0xA5;

template <class T>
T* scratch() {
  return reinterpret_cast<T*>(scratch_memory);
}
DLManagedTensorVersioned** scratch_pointer() {
  return reinterpret_cast<DLManagedTensorVersioned**>(scratch_memory);
}

bool scratch_untouched() {
  for (const unsigned char byte : scratch_memory) {
    if (byte != kPattern) return false;
  }
  return true;
}
void reset_scratch() {
  std::memset(scratch_memory, kPattern, sizeof scratch_memory);
}

template <class T>
struct Initialised {
  static T* get(tessera_status (*init)(T*, size_t)) {
    static T value;
    init(&value, sizeof value);
    return &value;
  }
};

uint64_t invented(int kind) {
  return uint64_t(kind) << 56 | uint64_t{7} << 32 | 5'000'000;
}

tessera_config live_config() {
  static const tessera_config config = [] {
    tessera_config made;
    EXPECT_EQ(tessera_config_create(&made, nullptr), TESSERA_OK);
    return made;
  }();
  return config;
}
tessera_batch live_batch() {
  static const tessera_batch batch = [] {
    tessera_batch made;
    EXPECT_EQ(tessera_batch_create(&made, nullptr), TESSERA_OK);
    return made;
  }();
  return batch;
}
template <class Handle>
uint64_t other_kind() {
  return std::is_same_v<Handle, tessera_config> ? live_batch().id : live_config().id;
}

void expect_refused(tessera_status status, tessera_status expected, const char* function,
                    const char* parameter) {
  EXPECT_EQ(status, expected) << function << " with a bad " << parameter << ": " << err.message;
  EXPECT_TRUE(scratch_untouched()) << function << " wrote to an output although " << parameter << " is bad";
  reset_scratch();
}
/// Functions without an error struct have nothing more to say.
void expect_described(const char* function, const char* parameter, tessera_status status) {
  if (err.code == -1) return;
  EXPECT_EQ(err.code, status) << function;
  EXPECT_NE(std::strstr(err.message, parameter), nullptr)
      << function << " does not name " << parameter << ": " << err.message;
}

#define EXPECT_REFUSED(call, function, parameter, expected) \
  do {                                                      \
    err.code = -1;                                          \
    reset_scratch();                                        \
    const tessera_status status = call;                     \
    expect_refused(status, expected, function, parameter);  \
    expect_described(function, parameter, expected);        \
  } while (0)
#define EXPECT_NULL_POINTER(call, function, parameter) \
  EXPECT_REFUSED(call, function, parameter, TESSERA_E_ARGUMENT)
#define EXPECT_NULL_HANDLE(call, function, parameter) \
  EXPECT_REFUSED(call, function, parameter, TESSERA_E_HANDLE_NULL)
#define EXPECT_STALE_HANDLE(call, function, parameter) \
  EXPECT_REFUSED(call, function, parameter, TESSERA_E_HANDLE_STALE)
#define EXPECT_WRONG_HANDLE(call, function, parameter) \
  EXPECT_REFUSED(call, function, parameter, TESSERA_E_HANDLE_TYPE)
#define EXPECT_STOPPED(call, function) (void)0

#include "generated_misuse.h"

TEST(Misuse, EveryPointerNullInTurn) {
  every_pointer_null_in_turn();
}
TEST(Misuse, EveryHandleNull) {
  every_handle_null();
}
TEST(Misuse, EveryHandleInvented) {
  every_handle_invented();
}
TEST(Misuse, EveryHandleOfAnotherKind) {
  every_handle_of_another_kind();
}
TEST(Misuse, EverythingNullDoesNotCrash) {
  int32_t level = 0;
  ASSERT_EQ(tessera_log_get_level(&level, nullptr), TESSERA_OK);
  everything_null();
  ASSERT_EQ(tessera_log_set_level(level, nullptr), TESSERA_OK);
}

TEST(Misuse, DestroyOfNullDoesNothing) {
  EXPECT_EQ(tessera_config_destroy(tessera_config{0}), TESSERA_OK);
  EXPECT_EQ(tessera_trainer_destroy(tessera_trainer{0}), TESSERA_OK);
  EXPECT_EQ(tessera_events_destroy(tessera_events{0}), TESSERA_OK);
}

TEST(Misuse, DestroyedHandlesAreStaleForEver) {
  tessera_config first;
  ASSERT_EQ(tessera_config_create(&first, nullptr), TESSERA_OK);
  ASSERT_EQ(tessera_config_destroy(first), TESSERA_OK);
  EXPECT_EQ(tessera_config_destroy(first), TESSERA_E_HANDLE_STALE);
  // Enough new handles that the slot is used again.
  for (int i = 0; i < 1000; ++i) {
    tessera_config other;
    ASSERT_EQ(tessera_config_create(&other, nullptr), TESSERA_OK);
    EXPECT_NE(other.id, first.id);
    EXPECT_EQ(tessera_config_set(first, "ranks", "2", &err), TESSERA_E_HANDLE_STALE);
    ASSERT_EQ(tessera_config_destroy(other), TESSERA_OK);
  }
}

TEST(Misuse, EveryBitPatternOfAHandleIsRefused) {
  const tessera_config live = live_config();
  for (int bit = 0; bit < 64; ++bit) {
    const tessera_config changed{live.id ^ (uint64_t{1} << bit)};
    size_t length = 0;
    const tessera_status status = tessera_config_get(changed, "ranks", nullptr, 0, &length, &err);
    EXPECT_TRUE(status == TESSERA_E_HANDLE_STALE || status == TESSERA_E_HANDLE_TYPE)
        << "bit " << bit << ": " << status;
  }
  uint64_t state = 88172645463325252ULL;
  for (int i = 0; i < 100000; ++i) {  // xorshift64 (Marsaglia, 2003)
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    if (state == live.id) continue;
    int64_t count = 0;
    EXPECT_NE(tessera_batch_count(tessera_batch{state}, &count, nullptr), TESSERA_OK);
    EXPECT_NE(tessera_config_destroy(tessera_config{state}), TESSERA_OK);
  }
}

}  // namespace
