// Calls that may never end do not hold up their caller.
#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <stdexcept>
#include <thread>

#include "comm/bounded_calls.h"

namespace tessera {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

TEST(BoundedCalls, RunInOrderAndRethrow) {
  BoundedCalls calls;
  int last = 0;
  for (int i = 1; i <= 100; ++i) {
    EXPECT_TRUE(calls.run([&last, i] { last = i; }, milliseconds(10000)));
    EXPECT_EQ(last, i);
  }
  EXPECT_THROW(calls.run([] { throw std::runtime_error("no"); }, milliseconds(10000)), std::runtime_error);
  EXPECT_TRUE(calls.run([&last] { last = -1; }, milliseconds(10000)));
  EXPECT_EQ(last, -1);
}

TEST(BoundedCalls, GiveUpACallThatDoesNotEndAndAllLaterOnes) {
  std::promise<void> release;
  std::promise<void> over;
  const std::shared_future<void> released = release.get_future().share();
  {
    BoundedCalls calls;
    const auto start = steady_clock::now();
    EXPECT_FALSE(calls.run(
        [released, &over] {
          released.wait();
          over.set_value();
        },
        milliseconds(50)));
    EXPECT_GE(steady_clock::now() - start, milliseconds(50));
    EXPECT_FALSE(calls.run([] { FAIL() << "made after a call was given up"; }, milliseconds(60000)));
  }  // does not wait for the call
  release.set_value();
  over.get_future().wait();
}

TEST(BoundedCalls, CancelEndsTheWaitOfAnotherThread) {
  std::promise<void> release;
  const std::shared_future<void> released = release.get_future().share();
  std::promise<void> begun;
  BoundedCalls calls;
  std::thread caller([&] {
    EXPECT_FALSE(calls.run(
        [released, &begun] {
          begun.set_value();
          released.wait();
        },
        milliseconds(60000)));
  });
  begun.get_future().wait();
  calls.cancel();
  caller.join();
  release.set_value();
}

}  // namespace
}  // namespace tessera
