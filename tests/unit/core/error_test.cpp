// Errors carry a code, a rank and one line of text.
#include "core/error.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace tessera {
namespace {

TEST(ErrorTest, CheckThrowsWithTheJoinedMessage) {
  const int tp = 3;
  try {
    TESSERA_CHECK(32 % tp == 0, argument, "tp=", tp, " does not divide n_heads=", 32);
    FAIL() << "no exception";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::argument);
    EXPECT_EQ(error.rank(), -1);
    EXPECT_STREQ(error.what(), "tp=3 does not divide n_heads=32");
  }
}

TEST(ErrorTest, OsErrorKeepsTheErrnoAndItsText) {
  const Error error = os_error("open /nowhere", ENOENT);
  EXPECT_EQ(error.code(), Code::io);
  EXPECT_EQ(error.domain(), Domain::os);
  EXPECT_EQ(error.native(), ENOENT);
  EXPECT_STREQ(error.what(), "open /nowhere: No such file or directory");
}

}  // namespace
}  // namespace tessera
