#include "llm/checkpoint.h"

#include <algorithm>
#include <filesystem>

#include "llm/checkpoints/sources.h"

namespace pomona::llm {
namespace {

namespace fs = std::filesystem;

bool begins_with(const std::string& path, std::string_view magic) {
  auto bytes = map_file(path);
  return bytes && bytes->text().starts_with(magic);
}

// The one GGUF model in a folder; the first part stands for the others of a split file.
Result<std::string> only_gguf(const std::string& folder) {
  std::vector<std::string> found;
  std::error_code failed;
  for (const auto& entry : fs::directory_iterator(folder, failed)) {
    std::string name = entry.path().filename().string();
    bool later_part = name.find("-of-") != name.npos && name.find("-00001-of-") == name.npos;
    if (entry.path().extension() == ".gguf" && !later_part) found.push_back(entry.path().string());
  }
  std::sort(found.begin(), found.end());
  POM_REQUIRE(!found.empty(), "the folder '{}' has neither a config.json nor a GGUF file", folder);
  POM_REQUIRE(found.size() == 1, "the folder '{}' has {} GGUF files, '{}' and others; name one of them", folder,
              found.size(), found[0]);
  return found[0];
}

}  // namespace

CheckpointTensor tensor_of(const Quantised& quantised, std::uint64_t stored_bytes) {
  return {quantised.sizes, quantised.storage, stored_bytes, decoded(quantised),
          [quantised](const KeepOptions& options) { return kept(quantised, options); }};
}

CheckpointTensor tensor_of(Weight decoded, std::string storage, std::uint64_t stored_bytes) {
  Sizes sizes = decoded.sizes();
  return {std::move(sizes), std::move(storage), stored_bytes, std::move(decoded), nullptr};
}

Result<Checkpoint> open_checkpoint(const std::string& path) {
  std::error_code ignored;
  POM_REQUIRE(fs::exists(path, ignored), "there is no file or folder '{}'", path);
  bool folder = fs::is_directory(path, ignored);
  for (const char* name : {"config.json", "modules.json"})
    if (folder && fs::exists(fs::path(path) / name, ignored)) return open_folder(path, "");
  std::string file = folder ? POM_TRY(only_gguf(path)) : path;
  if (begins_with(file, "GGUF")) return open_gguf(file);
  fs::path beside = fs::absolute(file, ignored).parent_path();
  POM_REQUIRE(fs::exists(beside / "config.json", ignored),
              "'{}' is no GGUF file, and there is no config.json beside it", path);
  return open_folder(beside.string(), fs::path(file).filename().string());
}

}  // namespace pomona::llm
