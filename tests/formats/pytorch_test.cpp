#include "formats/pytorch/pytorch.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "base/zip.h"
#include "formats/pytorch/pickle.h"
#include "formats/safetensors/safetensors.h"

namespace pomona {
namespace {

namespace fs = std::filesystem;

std::string vector_file(const char* name) {
  return (fs::path(std::getenv("POMONA_SOURCE")) / "tests/formats/pytorch" / name).string();
}

TEST(PyTorch, TensorsAreThoseThatTorchSaved) {
  auto entries = pytorch::read_pytorch(vector_file("weights.pt"));
  ASSERT_TRUE(entries) << describe(entries.error());
  auto expected = safetensors::read_safetensors(vector_file("expected.safetensors"));
  ASSERT_TRUE(expected);
  EXPECT_EQ(entries->size(), expected->tensors.size());
  for (const auto& [name, entry] : expected->tensors) {
    ASSERT_TRUE(entries->count(name)) << name;
    auto tensor = entries->at(name).weight.materialise();
    ASSERT_TRUE(tensor) << name << ": " << describe(tensor.error());
    EXPECT_TRUE(tensor->converted(DType::fp32).same_bits(*entry.weight()->materialise())) << name;
  }
  EXPECT_EQ(entries->at("bfloat16").stored, "BFloat16");
  EXPECT_EQ(entries->at("float8_e5m2").weight.dtype(), DType::f8e5m2);
}

TEST(PyTorch, ACallOfSomethingElseIsRefusedAndNotMade) {
  fs::remove("/tmp/pomona-was-here");
  auto entries = pytorch::read_pytorch(vector_file("hostile.pt"));
  ASSERT_FALSE(entries);
  EXPECT_NE(entries.error().what.find("'posix system'"), std::string::npos) << entries.error().what;
  EXPECT_FALSE(fs::exists("/tmp/pomona-was-here"));
}

TEST(PyTorch, ATruncatedFileIsRefusedAtEveryByte) {
  auto whole = map_file(vector_file("weights.pt"));
  ASSERT_TRUE(whole);
  for (std::size_t size = 0; size < whole->size(); size += size < 64 ? 1 : 7)
    ASSERT_FALSE(pytorch::parse_pytorch(Bytes::own(std::string(whole->text().substr(0, size))))) << size;
}

// The pickle alone, cut at every byte: never a crash, and never a result before its end.
TEST(PyTorch, ATruncatedPickleIsRefusedAtEveryByte) {
  auto whole = map_file(vector_file("weights.pt"));
  auto members = zip_members(*whole);
  ASSERT_TRUE(members);
  for (const ZipMember& member : *members) {
    if (!member.name.ends_with("data.pkl")) continue;
    Bytes pickle = *zip_contents(*whole, member);
    EXPECT_TRUE(pytorch::read_pickle(pickle));
    for (std::size_t size = 0; size < pickle.size(); ++size)
      ASSERT_FALSE(pytorch::read_pickle(Bytes::own(std::string(pickle.text().substr(0, size))))) << size;
  }
}

TEST(PyTorch, PicklesThatMeanHarm) {
  auto error = [](std::string_view pickle) {
    auto read = pytorch::read_pickle(Bytes::own(std::string(pickle)));
    return read ? std::string() : read.error().what;
  };
  using namespace std::string_view_literals;
  EXPECT_EQ(error("\x80\x02]q\x00h\x00"
                  "a."sv),
            "");  // a list that holds itself
  EXPECT_EQ(error(std::string(200'000, ']') + std::string(199'999, 'a') + "."), "");
  EXPECT_NE(error("X\xFF\xFF\xFF\x7F"
                  "a."sv)
                .find("promised"),
            std::string::npos);
  EXPECT_NE(error("h\x07."sv).find("never remembered"), std::string::npos);
  EXPECT_NE(error("K\x01)R."sv).find("calls what is no name"), std::string::npos);
  EXPECT_NE(error("a."sv).find("empty stack"), std::string::npos);
  EXPECT_NE(error("\xEE."sv).find("0xee"), std::string::npos);
}

}  // namespace
}  // namespace pomona
