#include "base/unfinished.h"

#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>
#include <mutex>
#include <set>

namespace pomona {
namespace {

namespace fs = std::filesystem;

struct Registry {
  std::mutex mutex;
  std::set<std::string> paths;
};
// Never destroyed, as a thread may end the program while others still run.
Registry& registry() {
  static Registry& all = *new Registry;
  return all;
}

Error cannot_place(const std::string& path, const std::error_code& error) {
  return fail("'{}' cannot be written: {}", path, error.message()).blame(Fault::environment);
}

}  // namespace

std::string beside(const std::string& path) {
  fs::path plain(path);
  if (!plain.has_filename()) plain = plain.parent_path();
  return (plain.parent_path() / fmt::format(".{}.{}.partial", plain.filename().string(), ::getpid())).string();
}

Unfinished::Unfinished(std::string path) : path_(std::move(path)) {
  std::lock_guard lock(registry().mutex);
  registry().paths.insert(path_);
}

Unfinished::~Unfinished() {
  if (path_.empty()) return;
  std::lock_guard lock(registry().mutex);
  std::error_code ignored;
  fs::remove_all(path_, ignored);
  registry().paths.erase(path_);
}

Status Unfinished::move_to(const std::string& path) {
  std::lock_guard lock(registry().mutex);
  std::error_code error, ignored;
  std::string aside = path_ + ".old";
  // A file takes a file's place in one step; a folder has to be moved aside.
  bool folder = fs::is_directory(fs::symlink_status(path_, ignored)) || fs::is_directory(path, ignored);
  bool replaced = folder && fs::exists(fs::symlink_status(path, ignored));
  if (replaced) fs::rename(path, aside, error);
  if (error) return cannot_place(path, error);
  fs::rename(path_, path, error);
  if (error) {
    if (replaced) fs::rename(aside, path, ignored);
    return cannot_place(path, error);
  }
  registry().paths.erase(path_);
  path_.clear();
  if (replaced) fs::remove_all(aside, ignored);
  return {};
}

void remove_unfinished() {
  // Stays locked, so that nothing is moved into place any more.
  registry().mutex.lock();
  // Other threads may still be adding files to what is being removed.
  constexpr int attempts = 20;
  for (const std::string& path : registry().paths)
    for (int i = 0; i < attempts; ++i) {
      std::error_code failed;
      fs::remove_all(path, failed);
      if (!failed && !fs::exists(path, failed)) break;
      ::usleep(1000);
    }
}

}  // namespace pomona
