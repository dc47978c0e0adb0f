#include <fcntl.h>
#include <fmt/format.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <mutex>
#include <protozero/pbf_writer.hpp>

#include "base/content_hash.h"
#include "base/interrupt.h"
#include "base/threads.h"
#include "base/unfinished.h"
#include "formats/mlpackage/description.h"
#include "formats/mlpackage/manifest.h"
#include "formats/mlpackage/package.h"
#include "formats/mlpackage/program_writer.h"

namespace pomona::mlpackage {
namespace {

namespace fs = std::filesystem;

// Tensors that are computed at the same time, one per thread, are at most this large together.
constexpr std::uint64_t batch_bytes = 64ULL << 20;
// What the file system needs beside the files' contents.
constexpr std::uint64_t spare_bytes = 1 << 20;

Error system_error(const char* doing, const std::string& path) {
  return fail("cannot {} '{}': {}", doing, path, std::strerror(errno)).blame(Fault::environment);
}

class OutputFile {
 public:
  static Result<OutputFile> create(const std::string& path) {
    OutputFile file(path);
    file.descriptor_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (file.descriptor_ < 0) return system_error("create", path);
    return file;
  }
  OutputFile(OutputFile&& other) noexcept
      : path_(std::move(other.path_)),
        descriptor_(std::exchange(other.descriptor_, -1)),
        turn_(std::move(other.turn_)) {}
  OutputFile& operator=(OutputFile&&) = delete;
  ~OutputFile() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }

  Status write(std::uint64_t offset, std::span<const std::uint8_t> bytes) const { return write(offset, {}, bytes); }
  // One behind the other. Threads take turns: the system lets one at a time into a file, and those it keeps out would
  // wait busily.
  Status write(std::uint64_t offset, std::span<const std::uint8_t> first, std::span<const std::uint8_t> second) const {
    static constexpr std::size_t most_at_once = 1 << 30;
    std::lock_guard lock(*turn_);
    while (!first.empty() || !second.empty()) {
      auto part = [](std::span<const std::uint8_t> bytes) {
        return iovec{const_cast<std::uint8_t*>(bytes.data()), std::min(bytes.size(), most_at_once)};
      };
      iovec parts[] = {part(first), part(second)};
      ssize_t written = ::pwritev(descriptor_, parts, 2, off_t(offset));
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) return system_error("write", path_);
      offset += std::uint64_t(written);
      std::size_t of_first = std::min(std::size_t(written), first.size());
      first = first.subspan(of_first);
      second = second.subspan(std::size_t(written) - of_first);
    }
    return {};
  }
  Status close() {
    if (::close(std::exchange(descriptor_, -1)) != 0) return system_error("write", path_);
    return {};
  }

 private:
  explicit OutputFile(std::string path) : path_(std::move(path)) {}
  std::string path_;
  int descriptor_ = -1;
  std::unique_ptr<std::mutex> turn_ = std::make_unique<std::mutex>();
};

Status write_text(const std::string& path, std::string_view text) {
  OutputFile file = POM_TRY(OutputFile::create(path));
  POM_TRY(file.write(0, {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()}));
  return file.close();
}

Status write_blob(const OutputFile& file, const PlannedBlob& blob, ContentHash& hash) {
  const Weight& weight = blob.weight;
  Bytes data;
  if (const Bytes* stored = weight.stored_bytes()) {
    data = *stored;
  } else {
    Tensor tensor = POM_TRY(weight.materialise());
    POM_REQUIRE(tensor.dtype() == weight.dtype() && tensor.sizes() == weight.sizes(),
                "a weight promised as {} {} became {} {}", name(weight.dtype()), to_string(weight.sizes()),
                name(tensor.dtype()), to_string(tensor.sizes()));
    data = stored_form(tensor);
  }
  BlobRecord record = blob_record(weight.dtype(), weight.count(), blob.offset);
  hash.add(record);
  hash.add(data.span());
  return file.write(blob.offset, record, data.span());
}

// Both are made of the same weight, as codes and scales are: what the first leaves behind serves the second.
bool share_work(const Weight& a, const Weight& b) {
  const Weight::Step *x = a.step(), *y = b.step();
  return x && y && !x->inputs.empty() && !y->inputs.empty() && x->inputs[0].identity() == y->inputs[0].identity();
}

// Where each run of blobs that share work begins, and the end.
std::vector<std::size_t> runs_of(std::span<const PlannedBlob> blobs) {
  std::vector<std::size_t> begins;
  for (std::size_t i = 0; i < blobs.size(); ++i)
    if (i == 0 || !share_work(blobs[i - 1].weight, blobs[i].weight)) begins.push_back(i);
  begins.push_back(blobs.size());
  return begins;
}

// Tensors of a batch are made at the same time; a large one is alone, and may use all threads itself.
Status write_weights(const std::string& path, const BlobPlan& plan, const WriteOptions& options, ContentHash& hash) {
  OutputFile file = POM_TRY(OutputFile::create(path));
  POM_TRY(file.write(0, blob_header(plan.layout.count)));
  std::span<const PlannedBlob> rest(plan.blobs);
  while (!rest.empty()) {
    POM_TRY(check_interrupt());
    std::size_t count = 1;
    std::uint64_t size = rest[0].weight.stored_size();
    while (count < rest.size() && size + rest[count].weight.stored_size() <= batch_bytes)
      size += rest[count++].weight.stored_size();
    std::vector<Status> results(count);
    std::vector<ContentHash> hashes(count);
    std::vector<std::size_t> runs = runs_of(rest.first(count));
    parallel_for(runs.size() - 1, 1, [&](std::size_t begin, std::size_t end) {
      for (std::size_t i = runs[begin]; i < runs[end]; ++i) results[i] = write_blob(file, rest[i], hashes[i]);
    });
    for (Status& result : results) POM_TRY(std::move(result));
    for (const ContentHash& each : hashes) hash.add(each);
    rest = rest.subspan(count);
    std::uint64_t done = rest.empty() ? plan.layout.size : rest[0].offset;
    if (options.progress) options.progress(done, plan.layout.size);
  }
  return file.close();
}

Status check_space(const fs::path& folder, std::uint64_t needed) {
  struct statvfs state{};
  if (::statvfs(folder.c_str(), &state) != 0) return system_error("examine", folder.string());
  std::uint64_t free = std::uint64_t(state.f_bavail) * state.f_frsize;
  if (free < needed)
    return fail("'{}' has {} MB free, but the package needs {} MB", folder.string(), free >> 20, (needed >> 20) + 1)
        .blame(Fault::environment);
  return {};
}

Status check_destination(const fs::path& path, bool force) {
  std::error_code error;
  if (!fs::exists(fs::symlink_status(path, error))) return {};
  if (!force) return fail("'{}' exists", path.string()).advise("ask for it to be replaced, or choose another name");
  // Only what looks like a package is deleted.
  bool package =
      fs::is_regular_file(path, error) || fs::is_empty(path, error) || fs::exists(path / "Manifest.json", error);
  POM_REQUIRE(package, "'{}' is a directory, but not a package; it is not replaced", path.string());
  return {};
}

Result<std::string> model_bytes(const Program& program, BlobPlan& plan) {
  POM_REQUIRE(!program.functions.empty(), "the program has no function");
  POM_REQUIRE(!program.default_function.empty() || program.functions.size() == 1,
              "the program has {} functions, but none of them is the default one", program.functions.size());
  Target newest = Target::iOS15;
  for (const auto& function : program.functions) newest = std::max(newest, function->opset);
  ModelDescription description = POM_TRY(described(program));
  std::string contents = POM_TRY(program_bytes(program, plan));
  std::string bytes;
  protozero::pbf_writer model(bytes);
  model.add_int32(1, info(newest).spec_version);
  model.add_message(2, description_bytes(description));
  model.add_message(502, contents);
  return bytes;
}

Result<Unfinished> write_parts(const Program& program, const fs::path& path, const WriteOptions& options) {
  POM_TRY(check_destination(path, options.force));
  BlobPlan plan;
  std::string model = POM_TRY(model_bytes(program, plan));
  fs::path parent = path.has_parent_path() ? path.parent_path() : fs::path(".");
  POM_TRY(check_space(parent, model.size() + plan.layout.size + spare_bytes));
  Unfinished made(beside(path.string()));
  fs::path folder = made.path(), data = folder / "Data" / author;
  std::error_code error;
  fs::create_directories(data / weights_name, error);
  if (error) return fail("cannot create '{}': {}", data.string(), error.message()).blame(Fault::environment);
  ContentHash hash;
  hash.add({reinterpret_cast<const std::uint8_t*>(model.data()), model.size()});
  if (!plan.blobs.empty()) POM_TRY(write_weights((data / weights_name / "weight.bin").string(), plan, options, hash));
  POM_TRY(write_text((data / model_name).string(), model));
  POM_TRY(write_text((folder / "Manifest.json").string(), manifest_text(hash.text())));
  return made;
}

// A trailing slash would make the last part of the path empty.
Result<fs::path> package_path(const std::string& path) {
  fs::path plain(path);
  if (!plain.has_filename()) plain = plain.parent_path();
  POM_REQUIRE(plain.has_filename(), "'{}' names no package", path);
  return plain;
}

}  // namespace

Result<Unfinished> write_draft(const Program& program, const std::string& path, const WriteOptions& options) {
  fs::path plain = POM_TRY(package_path(path));
  return POM_TRY_IN(write_parts(program, plain, options), "package '{}'", path);
}

Status write_package(const Program& program, const std::string& path, const WriteOptions& options) {
  Unfinished draft = POM_TRY(write_draft(program, path, options));
  return draft.move_to(POM_TRY(package_path(path)).string());
}

}  // namespace pomona::mlpackage
