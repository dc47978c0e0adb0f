#include "compress/journal.h"

#include <fmt/format.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/bytes.h"
#include "ir/op.h"

namespace pomona::compress {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

// A file: length of the head in 8 bytes, the head as JSON, then the parts' bytes in a row.
constexpr std::size_t length_bytes = 8;
constexpr std::size_t alignment = 64;

std::size_t aligned(std::size_t size) { return (size + alignment - 1) / alignment * alignment; }

struct Kept {
  Json head;
  Bytes file;
  std::size_t parts_at = 0;
};
Result<Kept> read_kept(const std::string& path) {
  Kept kept;
  kept.file = POM_TRY(map_file(path));
  std::uint64_t length = 0;
  POM_REQUIRE(kept.file.size() >= length_bytes, "'{}' is too short", path);
  std::memcpy(&length, kept.file.data(), length_bytes);
  Bytes head = POM_TRY(kept.file.slice(length_bytes, length));
  kept.head = Json::parse(head.text(), nullptr, false);
  POM_REQUIRE(kept.head.is_object(), "'{}' is damaged", path);
  kept.parts_at = aligned(length_bytes + length);
  return kept;
}

Status restore(const Kept& kept, Encoded& encoded, std::vector<float>& shift) {
  const Json& head = kept.head;
  POM_REQUIRE(head.value("stages", std::size_t(0)) == encoded.stages.size(), "another number of stages");
  std::size_t at = kept.parts_at, index = 0;
  for (Stage& stage : encoded.stages)
    for (auto& [field, part] : stage.parts) {
      if (!part.weight) continue;
      const Json& of = head.at("parts").at(index++);
      auto dtype = dtype_named(of.at("dtype").get<std::string>());
      POM_REQUIRE(dtype && of.at("field") == field, "another part");
      auto sizes = of.at("sizes").get<Sizes>();
      std::uint64_t bytes = stored_size_bytes(*dtype, std::size_t(element_count(sizes)));
      part = POM_TRY(Weight::stored(POM_TRY(kept.file.slice(at, bytes)), *dtype, sizes));
      at += aligned(bytes);
    }
  encoded.scheme = head.at("scheme").get<std::string>();
  encoded.note = head.at("note").get<std::string>();
  encoded.error_before = head.at("error_before").get<double>();
  encoded.rounded = true;
  auto measured = std::make_shared<Measured>();
  measured->squared_error = head.at("squared_error").get<double>();
  encoded.measured = std::move(measured);
  shift = head.at("shift").get<std::vector<float>>();
  return {};
}

}  // namespace

Result<std::shared_ptr<Journal>> Journal::open(std::string folder, const std::string& job) {
  auto journal = std::make_shared<Journal>();
  journal->folder_ = std::move(folder);
  journal->job_ = job;
  std::error_code failed;
  if (!fs::exists(journal->folder_, failed)) return journal;
  std::ifstream in(journal->folder_ + "/job");
  std::string known((std::istreambuf_iterator<char>(in)), {});
  if (known == job)
    journal->begun_ = true;
  else if (in.is_open())
    fs::remove_all(journal->folder_, failed);
  else
    return fail("'{}' is in the way: it is where unfinished work is kept", journal->folder_);
  return journal;
}

std::string Journal::path_of(std::size_t number) const { return fmt::format("{}/{}", folder_, number); }

Result<bool> Journal::take(std::size_t number, Encoded& encoded, std::vector<float>& shift) {
  std::error_code failed;
  if (!begun_ || !fs::exists(path_of(number), failed)) return false;
  try {
    auto kept = read_kept(path_of(number));
    if (!kept || !restore(*kept, encoded, shift)) return false;
  } catch (const Json::exception&) {
    return false;
  }
  ++taken_;
  return true;
}

Status Journal::begin() {
  if (begun_) return {};
  std::error_code failed;
  fs::create_directories(folder_, failed);
  POM_REQUIRE(!failed, "'{}' cannot be made: {}", folder_, failed.message());
  std::ofstream out(folder_ + "/job");
  out << job_;
  POM_REQUIRE(out.good(), "'{}/job' cannot be written", folder_);
  begun_ = true;
  return {};
}

Status Journal::keep(std::size_t number, Encoded& encoded, const std::vector<float>& shift) {
  POM_TRY(begin());
  Json parts = Json::array();
  std::string bytes;
  for (const Stage& stage : encoded.stages)
    for (const auto& [field, part] : stage.parts) {
      if (!part.weight) continue;
      Bytes form = stored_form(POM_TRY(part.weight.materialise()));
      parts.push_back(
          {{"field", field}, {"dtype", std::string(name(part.weight.dtype()))}, {"sizes", part.weight.sizes()}});
      bytes += form.text();
      bytes.resize(aligned(bytes.size()));
    }
  double error = encoded.measured ? encoded.measured->squared_error.load() : 0;
  std::string head = Json{
      {"stages", encoded.stages.size()},
      {"parts", parts},
      {"scheme", encoded.scheme},
      {"note", encoded.note},
      {"error_before", encoded.error_before},
      {"squared_error", error},
      {"shift", shift}}.dump();
  head.resize(aligned(length_bytes + head.size()) - length_bytes, ' ');
  std::uint64_t length = head.size();
  std::string unfinished = path_of(number) + ".new";
  std::ofstream out(unfinished, std::ios::binary);
  out.write(reinterpret_cast<const char*>(&length), length_bytes);
  out << head << bytes;
  out.close();
  POM_REQUIRE(out.good(), "'{}' cannot be written", unfinished);
  std::error_code failed;
  fs::rename(unfinished, path_of(number), failed);
  POM_REQUIRE(!failed, "'{}' cannot be made: {}", path_of(number), failed.message());
  std::vector<float> same = shift;
  return restore(POM_TRY(read_kept(path_of(number))), encoded, same);
}

void Journal::finish() {
  std::error_code failed;
  if (begun_) fs::remove_all(folder_, failed);
}

}  // namespace pomona::compress
