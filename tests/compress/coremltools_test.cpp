// The same packages compressed here and by coremltools: ours load there, decode there as they do here, and lose no
// more.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "compress/policy.h"
#include "formats/mlpackage/package.h"

namespace pomona {
namespace {

namespace fs = std::filesystem;

std::string environment(const char* name, const char* otherwise) {
  const char* value = std::getenv(name);
  return value ? value : otherwise;
}
const std::string python = environment("POMONA_TEST_PYTHON", "python3");
const std::string scripts = environment("POMONA_SOURCE", ".") + "/tests/compress/coremltools/";

int run(const std::string& command) { return std::system(command.c_str()); }

struct Folder {
  fs::path path = fs::temp_directory_path() / ("pomona_compress_" + std::to_string(::getpid()));
  ~Folder() { fs::remove_all(path); }
};

compress::SchemeOptions options_of(const nlohmann::json& json) {
  compress::SchemeOptions options;
  for (const auto& [name, value] : json.items()) {
    if (value.is_boolean())
      options[name] = value.get<bool>();
    else if (value.is_string())
      options[name] = value.get<std::string>();
    else if (value.is_array())
      options[name] = value.get<Ints>();
    else if (value.is_number_integer())
      options[name] = value.get<std::int64_t>();
    else
      options[name] = value.get<double>();
  }
  return options;
}

Status compress_and_decompress(const fs::path& folder, const std::string& source, const nlohmann::json& one) {
  std::string name = source + "." + one["name"].get<std::string>() + ".mlpackage";
  auto scheme = POM_TRY(compress::make_scheme(one["scheme"].get<std::string>(), options_of(one["options"])));
  Program program = POM_TRY(mlpackage::read_package((folder / (source + ".mlpackage")).string()));
  compress::Report report = POM_TRY(compress::compress(program, {scheme}));
  POM_TRY(mlpackage::write_package(program, (folder / "ours" / name).string()));
  for (const auto& line : report.lines)
    POM_REQUIRE(!line.compressed() || line.relative_error(), "'{}' has no error after it was written", line.name);
  Program written = POM_TRY(mlpackage::read_package((folder / "ours" / name).string()));
  POM_TRY(compress::decompress(written));
  return mlpackage::write_package(written, (folder / "plain" / name).string());
}

TEST(CoreMLTools, CompressedPackagesAgree) {
  if (run(python + " -c 'import coremltools, sklearn' 2>/dev/null") != 0)
    GTEST_SKIP() << "no coremltools and scikit-learn in " << python;
  Folder own;
  fs::path folder = environment("POMONA_TEST_COMPRESSED", own.path.c_str());
  if (folder == own.path) {
    ASSERT_EQ(run(python + " -B " + scripts + "make_compressed.py " + folder.string() + " > /dev/null 2>&1"), 0);
  }
  for (const char* made : {"ours", "plain"}) {
    fs::remove_all(folder / made);
    fs::create_directories(folder / made);
  }
  nlohmann::json cases = nlohmann::json::parse(std::ifstream(scripts + "cases.json"));
  for (const auto& one : cases)
    for (const char* source : {"half", "single", "older", "flat"}) {
      std::string theirs = std::string(source) + "." + one["name"].get<std::string>() + ".mlpackage";
      if (!fs::exists(folder / "theirs" / theirs)) continue;
      Status status = compress_and_decompress(folder, source, one);
      ASSERT_TRUE(status) << source << " " << one["name"] << "\n" << describe(status.error());
    }
  EXPECT_EQ(run(python + " -B " + scripts + "check_compressed.py " + folder.string()), 0);
}

}  // namespace
}  // namespace pomona
