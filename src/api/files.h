// What the verbs need of the file system and the clock: outputs that appear whole or not at all, sizes, seconds,
// memory.
//
//   POM_TRY(write_whole_file("out.npz", contents, force));
//
// A file is written beside its place and renamed into it, so that an interrupted run leaves the old one untouched.
#pragma once
#include <chrono>
#include <cstdint>
#include <string>
#include <utility>

#include "base/unfinished.h"

namespace pomona::api {

// Errors: `path` exists and `force` is off; its folder does not exist or may not be written to.
Status write_whole_file(const std::string& path, const std::string& contents, bool force);
// Whether `path` can be written: for saying so before hours of work. Errors: it exists and `force` is off; its folder
// does not exist, or may not be written to.
Status check_output(const std::string& path, bool force);
// The same, of a package, which is to be called one.
Status check_package_output(const std::string& path, bool force);
// Makes the folder, and the folders above it.
Status make_folder(const std::string& path);
// Bytes of a file, or of all files below a folder; 0 when there is nothing.
std::uint64_t size_on_disk(const std::string& path);
std::string size_text(std::uint64_t bytes);  // "22.9 MB"
// The most memory this process has held so far, mapped files included.
std::uint64_t peak_memory_bytes();

// A folder of its own in the system's place for such things; it goes with the object.
class TemporaryFolder {
 public:
  static Result<TemporaryFolder> make();
  const std::string& path() const { return folder_.path(); }

 private:
  explicit TemporaryFolder(std::string path) : folder_(std::move(path)) {}
  Unfinished folder_;
};

class Stopwatch {
 public:
  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count(); }

 private:
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

}  // namespace pomona::api
