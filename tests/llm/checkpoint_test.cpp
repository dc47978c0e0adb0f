// Quantised checkpoints, held to what their quantisers' libraries decode them to (checkpoints/make_vectors.py).
#include "llm/checkpoint.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "formats/safetensors/safetensors.h"
#include "ir/evaluate.h"

namespace pomona::llm {
namespace {

namespace fs = std::filesystem;

fs::path vectors() { return fs::path(std::getenv("POMONA_SOURCE")) / "tests/llm/checkpoints"; }

struct Folder {
  fs::path path = fs::temp_directory_path() / ("pomona_checkpoint_" + std::to_string(::getpid()));
  Folder() { fs::create_directories(path); }
  ~Folder() { fs::remove_all(path); }
  void write(const std::string& name, const std::string& text) {
    fs::create_directories((path / name).parent_path());
    std::ofstream(path / name, std::ios::binary) << text;
  }
};

Tensor evaluated(const EncodedWeight& weight) {
  Program program;
  Function& function = program.add_function("main", Target::iOS18);
  Builder g(function);
  Value value = add_encoded(g, weight, "w");
  EXPECT_TRUE(g.status()) << describe(g.status().error());
  if (!g.status()) return Tensor();
  function.body.set_results({value});
  auto results = Evaluation(function)({});
  EXPECT_TRUE(results) << describe(results.error());
  return results ? (*results)[0] : Tensor();
}

// The largest difference as a share of the largest magnitude.
double difference(const Tensor& a, const Tensor& b) {
  double worst = 0, largest = 1e-30;
  EXPECT_EQ(a.sizes(), b.sizes());
  for (std::size_t i = 0; i < b.count() && i < a.count(); ++i) {
    worst = std::max(worst, std::abs(a.number(i) - b.number(i)));
    largest = std::max(largest, std::abs(b.number(i)));
  }
  return worst / largest;
}

class Quantiser : public ::testing::TestWithParam<const char*> {};

TEST_P(Quantiser, DecodesAndIsKeptAsItsLibraryHasIt) {
  auto checkpoint = open_checkpoint((vectors() / GetParam()).string());
  ASSERT_TRUE(checkpoint) << describe(checkpoint.error());
  auto expected = safetensors::read_safetensors((vectors() / GetParam() / "expected.safetensors").string());
  ASSERT_TRUE(expected) << describe(expected.error());
  EXPECT_EQ(checkpoint->tensors.size(), expected->tensors.size());
  for (const auto& [name, entry] : expected->tensors) {
    ASSERT_TRUE(checkpoint->tensors.count(name)) << name;
    const CheckpointTensor& tensor = checkpoint->tensors.at(name);
    EXPECT_EQ(tensor.sizes, entry.sizes) << name;
    Tensor truth = *entry.weight()->materialise();
    auto decoded = tensor.decoded.materialise();
    ASSERT_TRUE(decoded) << name << ": " << describe(decoded.error());
    EXPECT_LE(difference(*decoded, truth), 1e-6) << name;
    if (!tensor.keep) continue;
    EXPECT_GT(tensor.stored_bytes, 0u);
    for (KeepOptions options : {KeepOptions{.decoded = DType::fp16}, KeepOptions{.decoded = DType::fp32},
                                KeepOptions{.decoded = DType::fp32, .in_memory = true},
                                KeepOptions{.target = Target::iOS16, .decoded = DType::fp16}}) {
      auto kept = tensor.keep(options);
      ASSERT_TRUE(kept) << name << ": " << describe(kept.error());
      bool half = options.decoded == DType::fp16;
      EXPECT_LE(difference(evaluated(*kept), truth), half ? 0x1p-10 : 1e-6) << name << ": " << kept->scheme;
      if (options.target == Target::iOS16) {
        EXPECT_FALSE(kept->op);
        EXPECT_NE(kept->note.find("decoded: "), std::string::npos) << kept->note;
      }
    }
  }
}
INSTANTIATE_TEST_SUITE_P(Vectors, Quantiser,
                         ::testing::Values("mlx", "awq", "gptq", "gptq2", "gptq3", "gptq8", "gptq_v2", "gptq_ordered",
                                           "compressed_tensors", "bitsandbytes", "fp8"));

std::string scheme_of(const std::string& folder, const std::string& name) {
  auto checkpoint = open_checkpoint((vectors() / folder).string());
  return checkpoint ? checkpoint->tensors.at(name).keep({.decoded = DType::fp16})->scheme : "";
}

TEST(Checkpoint, FormsThatAreKept) {
  EXPECT_EQ(scheme_of("mlx", "affine4g64.weight"), "uint4 per block of 64 (MLX 4-bit g64)");
  EXPECT_EQ(scheme_of("mlx", "affine2g64.weight"), "uint2 with a table per block of 64 (MLX 2-bit g64)");
  EXPECT_EQ(scheme_of("mlx", "affine6g64.weight"), "uint8 per block of 64 (MLX 6-bit g64)");
  EXPECT_EQ(scheme_of("mlx", "mxfp44g32.weight"), "int8 per block of 32 (MLX mxfp4)");
  EXPECT_EQ(scheme_of("awq", "a.weight"), "uint4 per block of 32 (AWQ int4 g32)");
  EXPECT_EQ(scheme_of("bitsandbytes", "nf4.weight"), "uint4 with a table per block of 64 (bitsandbytes nf4 g64)");
  EXPECT_EQ(scheme_of("compressed_tensors", "pack4sym.weight"), "int4 per block of 32 (compressed-tensors int4 g32)");
}

// Zero points of AWQ are whole and within the codes' range; those of GPTQ's first version reach one beyond it.
TEST(Checkpoint, ZeroPointsAreIntegersWhereTheyFit) {
  auto offset = [](const std::string& folder) {
    auto checkpoint = open_checkpoint((vectors() / folder).string());
    auto kept = checkpoint->tensors.at("a.weight").keep({.decoded = DType::fp16});
    return kept->operands[*kept->op->input_index("offset")].dtype();
  };
  EXPECT_EQ(offset("awq"), DType::uint4);
  EXPECT_EQ(offset("gptq_v2"), DType::uint4);
  EXPECT_EQ(offset("gptq"), DType::fp16);
}

std::string safetensors_of(const std::string& header, const std::string& data) {
  std::string text;
  for (unsigned i = 0; i < 8; ++i) text += char(header.size() >> (8 * i));
  return text + header + data;
}

TEST(Safetensors, WhatTheHeaderSaysIsChecked) {
  auto error = [](const std::string& header, const std::string& data = std::string(8, '\0')) {
    auto file = safetensors::parse_safetensors(Bytes::own(safetensors_of(header, data)));
    return file ? "" : describe(file.error());
  };
  auto has = [](const std::string& text, const char* part) { return text.find(part) != text.npos; };
  EXPECT_EQ(error(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})"), "");
  EXPECT_EQ(error(R"({"a":{"dtype":"F32","shape":[0,5],"data_offsets":[4,4]}})"), "");
  EXPECT_TRUE(has(error(R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,12]}})"), "tensor 'a'"));
  EXPECT_TRUE(has(error(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}})"), "4 bytes, but it has 8"));
  EXPECT_TRUE(has(error(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})"), "before they begin"));
  EXPECT_TRUE(has(error(R"({"a":{"dtype":"F99","shape":[2],"data_offsets":[0,8]}})"), "'F99' is unknown"));
  EXPECT_TRUE(has(error(R"({"a":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,8]}})"), "impossible"));
  EXPECT_TRUE(has(error(R"({"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,8]}})"), "whole number"));
  EXPECT_TRUE(has(error(R"({"a":{"dtype":"U8","shape":[6],"data_offsets":[0,6]},)"
                        R"("b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})"),
                  "overlap"));
  EXPECT_TRUE(has(error("[1]"), "no JSON object"));
  EXPECT_TRUE(has(error(R"({"a":3})"), "not an object"));
  EXPECT_TRUE(has(error(R"({"a":{"dtype":"U8"}})"), "no shape"));
}

TEST(Safetensors, ATruncatedFileIsRefusedAtEveryByte) {
  auto whole = map_file((vectors() / "awq/model.safetensors").string());
  ASSERT_TRUE(whole);
  for (std::size_t size = 0; size < whole->size(); ++size)
    ASSERT_FALSE(safetensors::parse_safetensors(Bytes::own(std::string(whole->text().substr(0, size))))) << size;
}

TEST(Checkpoint, ShardsAreJoinedAndCheckedAgainstTheIndex) {
  Folder folder;
  folder.write("config.json", R"({"model_type":"test"})");
  folder.write("one.safetensors",
               safetensors_of(R"({"a":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}})", "\1\2\3\4"));
  folder.write("two.safetensors",
               safetensors_of(R"({"b":{"dtype":"F8_E5M2","shape":[1,2],"data_offsets":[0,2]}})", "\x3C\x40"));
  folder.write("model.safetensors.index.json", R"({"weight_map":{"a":"one.safetensors","b":"two.safetensors"}})");
  auto checkpoint = open_checkpoint(folder.path.string());
  ASSERT_TRUE(checkpoint) << describe(checkpoint.error());
  EXPECT_EQ(checkpoint->tensors.at("a").decoded.dtype(), DType::fp16);
  EXPECT_EQ(checkpoint->tensors.at("b").decoded.materialise()->numbers(), (std::vector<double>{1, 2}));
  folder.write("model.safetensors.index.json", R"({"weight_map":{"a":"one.safetensors","c":"two.safetensors"}})");
  auto missing = open_checkpoint(folder.path.string());
  ASSERT_FALSE(missing);
  EXPECT_NE(missing.error().what.find("'c'"), std::string::npos);
  folder.write("model.safetensors.index.json", R"({"weight_map":{"a":"../one.safetensors"}})");
  EXPECT_FALSE(open_checkpoint(folder.path.string()));
  fs::remove(folder.path / "model.safetensors.index.json");
  // One of several files, named.
  auto one = open_checkpoint((folder.path / "two.safetensors").string());
  ASSERT_TRUE(one) << describe(one.error());
  EXPECT_EQ(one->tensors.size(), 1u);
}

TEST(Checkpoint, AnUnknownQuantiserIsNamed) {
  Folder folder;
  folder.write("config.json", R"({"quantization_config":{"quant_method":"quip"}})");
  folder.write("model.safetensors", safetensors_of("{}", ""));
  auto checkpoint = open_checkpoint(folder.path.string());
  ASSERT_FALSE(checkpoint);
  EXPECT_NE(checkpoint.error().what.find("'quip'"), std::string::npos);
}

TEST(Checkpoint, PoolingOfSentenceEncoders) {
  Folder folder;
  folder.write("config.json", R"({"model_type":"bert"})");
  folder.write("model.safetensors", safetensors_of("{}", ""));
  folder.write("modules.json", R"([{"path":"","type":"sentence_transformers.models.Transformer"},
    {"path":"1_Pooling","type":"sentence_transformers.models.Pooling"}])");
  folder.write("1_Pooling/config.json", R"({"pooling_mode_cls_token":true,"pooling_mode_mean_tokens":false})");
  auto checkpoint = open_checkpoint(folder.path.string());
  ASSERT_TRUE(checkpoint) << describe(checkpoint.error());
  ASSERT_EQ(checkpoint->sentence_steps.size(), 1u);
  EXPECT_EQ(checkpoint->sentence_steps[0].poolings, std::vector<std::string>{"cls"});
  folder.write("modules.json", R"([{"path":"2_Dense","type":"sentence_transformers.models.Dense"}])");
  EXPECT_FALSE(open_checkpoint(folder.path.string()));
}

}  // namespace
}  // namespace pomona::llm
