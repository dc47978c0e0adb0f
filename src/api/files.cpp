#include "api/files.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace pomona::api {

namespace fs = std::filesystem;

Status check_output(const std::string& path, bool force) {
  std::error_code ignored;
  if (!force && fs::exists(fs::symlink_status(path, ignored)))
    return fail("'{}' exists already", path).advise("--force, to replace it");
  fs::path plain(path);
  if (!plain.has_filename()) plain = plain.parent_path();
  std::string folder = plain.has_parent_path() ? plain.parent_path().string() : ".";
  if (!fs::is_directory(folder, ignored))
    return fail("'{}' cannot be written: there is no folder '{}'", path, folder).advise("mkdir -p " + folder);
  if (::access(folder.c_str(), W_OK | X_OK) != 0)
    return fail("'{}' cannot be written: {}", path, std::strerror(errno)).blame(Fault::environment);
  return {};
}

Status check_package_output(const std::string& path, bool force) {
  fs::path plain(path);
  if (!plain.has_filename()) plain = plain.parent_path();
  if (plain.extension() != ".mlpackage")
    return fail("'{}' is not called .mlpackage, by which Core ML knows a package", path)
        .advise(plain.string() + ".mlpackage");
  return check_output(path, force);
}

Status write_whole_file(const std::string& path, const std::string& contents, bool force) {
  POM_TRY(check_output(path, force));
  Unfinished draft(beside(path));
  std::ofstream file(draft.path(), std::ios::binary);
  file.write(contents.data(), std::streamsize(contents.size()));
  file.close();
  if (!file) return fail("'{}' cannot be written: {}", path, std::strerror(errno)).blame(Fault::environment);
  return draft.move_to(path);
}

Status make_folder(const std::string& path) {
  std::error_code failed;
  fs::create_directories(path, failed);
  if (failed) return fail("the folder '{}' cannot be made: {}", path, failed.message()).blame(Fault::environment);
  POM_REQUIRE(fs::is_directory(path, failed), "'{}' is not a folder", path);
  return {};
}

std::uint64_t size_on_disk(const std::string& path) {
  std::error_code failed;
  if (!fs::is_directory(path, failed)) {
    std::uint64_t size = fs::file_size(path, failed);
    return failed ? 0 : size;
  }
  std::uint64_t total = 0;
  for (fs::recursive_directory_iterator at(path, failed), end; !failed && at != end; at.increment(failed)) {
    std::error_code ignored;
    if (at->is_regular_file(ignored)) total += at->file_size(ignored);
  }
  return total;
}

std::string size_text(std::uint64_t bytes) {
  if (bytes < 1000) return fmt::format("{} bytes", bytes);
  if (bytes < 1'000'000) return fmt::format("{:.1f} kB", double(bytes) / 1e3);
  if (bytes < 1'000'000'000) return fmt::format("{:.1f} MB", double(bytes) / 1e6);
  return fmt::format("{:.2f} GB", double(bytes) / 1e9);
}

std::uint64_t peak_memory_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
#ifdef __APPLE__
  return std::uint64_t(usage.ru_maxrss);
#else
  return std::uint64_t(usage.ru_maxrss) * 1024;
#endif
}

Result<TemporaryFolder> TemporaryFolder::make() {
  std::error_code failed;
  std::string pattern = (fs::temp_directory_path(failed) / "pomona-XXXXXX").string();
  if (failed || !mkdtemp(pattern.data()))
    return fail("no temporary folder can be made: {}", failed ? failed.message() : std::strerror(errno))
        .blame(Fault::environment);
  return TemporaryFolder(pattern);
}

}  // namespace pomona::api
