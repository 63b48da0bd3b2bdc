// flock(2) with a look at the holder's signs of life.
#include "data/cache_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <cerrno>
#include <thread>

#include "core/error.h"
#include "core/log.h"

namespace tessera {
namespace {

constexpr auto kPoll = std::chrono::milliseconds(20);
constexpr auto kPatience = std::chrono::seconds(2);  // before a wait is worth a line

/// Changes whenever the holder touches the file.
std::pair<int64_t, int64_t> last_touch(const FileHandle& file) {
  struct stat status{};
  if (::fstat(file.get(), &status) != 0) return {0, 0};
  return {status.st_mtim.tv_sec, status.st_mtim.tv_nsec};
}

}  // namespace

CacheLock::CacheLock(const std::string& path, std::chrono::milliseconds stuck)
    : path_(path), stuck_(stuck), file_(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666)) {
  if (!file_.is_open()) throw os_error(cat("cannot open ", path), errno);
}

bool CacheLock::wait() {
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  auto touched = last_touch(file_);
  auto alive = start;
  bool told = false;
  while (::flock(file_.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) return true;
    const auto now = Clock::now();
    if (const auto touch = last_touch(file_); touch != touched) {
      touched = touch;
      alive = now;
    }
    if (now - alive > stuck_) {
      log_warning("data.cache: who prepares ", path_, " has stood still for ",
                  std::chrono::duration_cast<std::chrono::seconds>(now - alive).count(),
                  " s: not waiting any longer");
      return false;
    }
    if (!told && now - start > kPatience) {
      log_info("data.cache: another rank or process prepares the data: waiting");
      told = true;
    }
    std::this_thread::sleep_for(kPoll);
  }
  exclusive_ = true;
  touch();
  return true;
}

void CacheLock::touch() noexcept {
  if (exclusive_) ::futimens(file_.get(), nullptr);
}

}  // namespace tessera
