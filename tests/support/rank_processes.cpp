// Child processes for tests: spawning, pipes and exit codes.
#include "rank_processes.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>

#include "core/error.h"

extern char** environ;

namespace tessera::testing {
namespace {

constexpr int kPatienceMs = 60'000;

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr) throw std::runtime_error(std::string(name) + " is not set");
  return value;
}

}  // namespace

RankProcesses::RankProcesses(const std::string& role, int size, const std::string& backend,
                             const std::string& rendezvous, std::chrono::milliseconds timeout)
    : children_(size) {
  for (int r = 0; r < size; ++r) {
    int pipe_ends[2];
    if (pipe2(pipe_ends, O_CLOEXEC) != 0) throw std::runtime_error("pipe2 failed");
    std::vector<std::string> settings = {cat(kRoleVariable, "=", role),
                                         cat("TESSERA_TEST_RANK=", r),
                                         cat("TESSERA_TEST_SIZE=", size),
                                         cat("TESSERA_TEST_BACKEND=", backend),
                                         cat("TESSERA_TEST_RENDEZVOUS=", rendezvous),
                                         cat("TESSERA_TEST_TIMEOUT=", timeout.count()),
                                         "OMP_NUM_THREADS=1"};
    std::vector<char*> environment;
    for (std::string& setting : settings) environment.push_back(setting.data());
    for (char** entry = environ; *entry != nullptr; ++entry) environment.push_back(*entry);
    environment.push_back(nullptr);
    std::vector<std::string> words = {"/proc/self/exe", "--gtest_filter=RankProcess.DISABLED_Play",
                                      "--gtest_also_run_disabled_tests"};
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);

    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, pipe_ends[1], STDOUT_FILENO);
    const int status = posix_spawn(&children_[r].pid, "/proc/self/exe", &actions, nullptr, arguments.data(),
                                   environment.data());
    posix_spawn_file_actions_destroy(&actions);
    ::close(pipe_ends[1]);
    children_[r].output = pipe_ends[0];
    if (status != 0) throw std::runtime_error("posix_spawn failed");
  }
}

RankProcesses::~RankProcesses() {
  for (Child& child : children_) {
    if (child.pid > 0) {
      ::kill(child.pid, SIGKILL);
      waitpid(child.pid, nullptr, 0);
    }
    if (child.output >= 0) ::close(child.output);
  }
}

void RankProcesses::kill(int rank) {
  ::kill(children_[rank].pid, SIGKILL);
}

void RankProcesses::stop(int rank) {
  ::kill(children_[rank].pid, SIGSTOP);
}

bool RankProcesses::read_more(Child& child, int timeout_ms) {
  pollfd entry{child.output, POLLIN, 0};
  if (poll(&entry, 1, timeout_ms) != 1)
    throw std::runtime_error("no output from a rank in time; so far: " + child.text);
  char buffer[4096];
  const ssize_t count = read(child.output, buffer, sizeof buffer);
  if (count <= 0) return false;
  child.text.append(buffer, static_cast<size_t>(count));
  return true;
}

void RankProcesses::await_line(int rank, const std::string& text) {
  Child& child = children_[rank];
  while (("\n" + child.text).find("\n" + text) == std::string::npos) {
    if (!read_more(child, kPatienceMs))
      throw std::runtime_error("rank ended without \"" + text + "\": " + child.text);
  }
}

std::string RankProcesses::finish(int rank) {
  Child& child = children_[rank];
  while (read_more(child, kPatienceMs)) {
  }
  int status = 0;
  waitpid(child.pid, &status, 0);
  child.pid = -1;
  child.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return child.text;
}

WorldOptions options_from_parent() {
  WorldOptions options;
  options.rank = options.local_rank = std::stoi(variable("TESSERA_TEST_RANK"));
  options.size = options.local_size = std::stoi(variable("TESSERA_TEST_SIZE"));
  options.backend = variable("TESSERA_TEST_BACKEND");
  options.rendezvous = variable("TESSERA_TEST_RENDEZVOUS");
  options.timeout = std::chrono::milliseconds(std::stoi(variable("TESSERA_TEST_TIMEOUT")));
  options.intra_op_threads = 1;
  return options;
}

TemporaryRendezvous::TemporaryRendezvous() {
  std::string pattern = (std::filesystem::temp_directory_path() / "tessera-test-XXXXXX").string();
  if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
  directory_ = pattern;
}

TemporaryRendezvous::~TemporaryRendezvous() {
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

std::string free_tcp_rendezvous() {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), length) != 0 ||
      getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) != 0) {
    throw std::runtime_error("no free port");
  }
  ::close(fd);
  return cat("tcp://127.0.0.1:", ntohs(address.sin_port));
}

}  // namespace tessera::testing
