// After fork() the child's copies of handles are refused, and new ones can be made.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tessera/tessera.h"

namespace {

TEST(Fork, HandlesOfTheParentAreRefusedInTheChild) {
  tessera_config config;
  ASSERT_EQ(tessera_config_create(&config, nullptr), TESSERA_OK);
  const pid_t child = fork();
  if (child == 0) {
    int failures = 0;
    failures += tessera_config_set(config, "ranks", "2", nullptr) == TESSERA_E_FORKED ? 0 : 1;
    failures += tessera_config_destroy(config) == TESSERA_E_FORKED ? 0 : 2;
    tessera_config own;
    failures += tessera_config_create(&own, nullptr) == TESSERA_OK ? 0 : 4;
    failures += tessera_config_set(own, "ranks", "2", nullptr) == TESSERA_OK ? 0 : 8;
    failures += tessera_config_destroy(own) == TESSERA_OK ? 0 : 16;
    _exit(failures);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_EQ(tessera_config_destroy(config), TESSERA_OK);
}

}  // namespace
