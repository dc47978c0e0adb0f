#include "api/origin.h"

#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "api/files.h"

namespace pomona::api {
namespace {

namespace fs = std::filesystem;

// Empty when this machine has no place for such things.
fs::path memory_folder() {
  if (const char* cache = std::getenv("POMONA_CACHE")) return fs::path(cache) / "sources";
  if (const char* home = std::getenv("HOME")) return fs::path(home) / ".cache/pomona/sources";
  return {};
}

// The manifest's identifiers are made of the package's contents. FNV-1a.
fs::path memory_of(const std::string& package) {
  auto manifest = map_file(package + "/Manifest.json");
  fs::path folder = memory_folder();
  if (!manifest || folder.empty()) return {};
  std::uint64_t hash = 0xcbf29ce484222325;
  for (std::uint8_t byte : manifest->span()) hash = (hash ^ byte) * 0x100000001b3;
  return folder / fmt::format("{:016x}", hash);
}

std::string remembered_by(const std::string& package) {
  std::string source;
  if (fs::path memory = memory_of(package); !memory.empty())
    if (std::ifstream file(memory); file) std::getline(file, source);
  return source;
}

}  // namespace

std::string noted_source(const std::string& source) {
  fs::path path(source);
  if (!path.has_filename()) path = path.parent_path();
  return path.is_absolute() ? path.filename().string() : path.string();
}

void remember_source(const std::string& package, const std::string& source) {
  std::error_code failed;
  fs::path full = fs::absolute(source, failed), memory = memory_of(package);
  if (failed || memory.empty()) return;
  // A package that was made from a package comes from where that one came from.
  if (std::string first = remembered_by(source); !first.empty()) full = first;
  fs::create_directories(memory.parent_path(), failed);
  if (!failed) std::ofstream(memory) << full.string();
}

Result<std::string> find_source(const Model& model) {
  if (!is_core_ml(model)) return model.path;
  auto noted = model.program.metadata.user.find(std::string(source_file_key));
  if (noted == model.program.metadata.user.end())
    return fail("'{}' does not say which file it was made from", model.path).advise("--source PATH");
  fs::path folder = fs::path(model.path);
  folder = folder.has_filename() ? folder.parent_path() : folder.parent_path().parent_path();
  std::vector<fs::path> places{noted->second, folder / noted->second, folder / fs::path(noted->second).filename()};
  if (std::string remembered = remembered_by(model.path); !remembered.empty())
    places.insert(places.begin(), remembered);
  std::error_code ignored;
  for (const fs::path& place : places)
    if (fs::exists(place, ignored)) return place.string();
  return fail("the file '{}' that '{}' was made from is not to be found", noted->second, model.path)
      .advise("--source PATH");
}

}  // namespace pomona::api
