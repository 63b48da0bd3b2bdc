// An exception of any kind at the top of any entry point becomes a status. Built from the sources of the C
// ABI with a hook that throws.
#include "firewall.h"

#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <new>
#include <string>

#include "tessera/tessera.h"

namespace {

tessera_error err;
tessera_status expected_status = TESSERA_OK;
std::string expected_message;

alignas(16) unsigned char scratch_memory[1024];
template <class T>
T* scratch() {
  return reinterpret_cast<T*>(scratch_memory);
}
DLManagedTensorVersioned** scratch_pointer() {
  return reinterpret_cast<DLManagedTensorVersioned**>(scratch_memory);
}
template <class T>
struct Initialised {
  static T* get(tessera_status (*)(T*, size_t)) {
    static T value{};
    return &value;
  }
};
[[maybe_unused]] uint64_t invented(int) {
  return 0;
}
template <class Handle>
[[maybe_unused]] uint64_t other_kind() {
  return 0;
}

#define EXPECT_NULL_POINTER(call, function, parameter) (void)0
#define EXPECT_NULL_HANDLE(call, function, parameter) (void)0
#define EXPECT_STALE_HANDLE(call, function, parameter) (void)0
#define EXPECT_WRONG_HANDLE(call, function, parameter) (void)0
#define EXPECT_STOPPED(call, function)                                       \
  do {                                                                       \
    err.code = -1;                                                           \
    EXPECT_EQ(call, expected_status) << function;                            \
    if (err.code != -1) {                                                    \
      EXPECT_EQ(err.code, expected_status) << function;                      \
      EXPECT_NE(std::strstr(err.message, expected_message.c_str()), nullptr) \
          << function << ": " << err.message;                                \
      EXPECT_EQ(std::strchr(err.message, '\n'), nullptr) << function;        \
    }                                                                        \
  } while (0)

#include "generated_misuse.h"

void expect_all(void (*thrower)(), tessera_status status, const char* message) {
  expected_status = status;
  expected_message = message;
  tessera::capi::firewall_hook = thrower;
  every_function_throwing();
  tessera::capi::firewall_hook = nullptr;
}

TEST(Firewall, OurOwnError) {
  expect_all([] { throw tessera::Error(tessera::Code::busy, "own\nerror"); }, TESSERA_E_BUSY, "own error");
}
TEST(Firewall, TorchError) {
  expect_all([] { TORCH_CHECK(false, "from torch"); }, TESSERA_E_INTERNAL, "from torch");
}
TEST(Firewall, TorchOutOfMemory) {
  expect_all([] { TORCH_CHECK_WITH(OutOfMemoryError, false, "device full"); }, TESSERA_E_OUT_OF_MEMORY,
             "device full");
}
TEST(Firewall, TorchCudaError) {
  expect_all(
      [] {
        throw c10::AcceleratorError(
            {__func__, __FILE__, 1}, 700,
            "CUDA error: an illegal memory access was encountered\nSearch for it in ..");
      },
      TESSERA_E_DEVICE, "CUDA error: an illegal memory access was encountered");
}
TEST(Firewall, TorchNotImplemented) {
  expect_all([] { TORCH_CHECK_NOT_IMPLEMENTED(false, "no such op"); }, TESSERA_E_UNSUPPORTED, "no such op");
}
TEST(Firewall, BadAlloc) {
  expect_all([] { throw std::bad_alloc(); }, TESSERA_E_OUT_OF_MEMORY, "out of memory");
}
TEST(Firewall, FilesystemError) {
  expect_all(
      [] {
        throw std::filesystem::filesystem_error("disk", std::make_error_code(std::errc::no_space_on_device));
      },
      TESSERA_E_IO, "disk");
}
TEST(Firewall, StandardException) {
  expect_all([] { throw std::runtime_error("standard"); }, TESSERA_E_INTERNAL, "standard");
}
TEST(Firewall, AnythingElse) {
  expect_all([] { throw 42; }, TESSERA_E_INTERNAL, "unknown type");
}

}  // namespace
