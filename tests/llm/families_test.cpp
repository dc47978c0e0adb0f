// Every family against what transformers computes (families.json, made by families_vectors.py), through every kind of
// cache and both engines' forms.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "cpu/runner.h"
#include "llm/families/families.h"
#include "llm/language_model.h"

namespace pomona::llm {
namespace {

using Json = nlohmann::json;

const Json& vectors() {
  static const Json json = [] {
    const char* source = std::getenv("POMONA_SOURCE");
    std::ifstream file(std::string(source ? source : ".") + "/tests/llm/families.json");
    return Json::parse(file, nullptr, false);
  }();
  return json;
}

// Uniform numbers from a hash of the name and the index, as families_vectors.py draws them.
Tensor drawn(const std::string& name, const Sizes& sizes) {
  std::uint64_t seed = 0xCBF29CE484222325;
  for (char byte : name) seed = (seed ^ std::uint8_t(byte)) * 0x100000001B3;
  bool table = name.find("emb") != name.npos || name.find("wte") != name.npos || name.find("wpe") != name.npos;
  Tensor tensor(DType::fp32, sizes);
  for (float& v : tensor.mutable_view<float>()) {
    seed += 0x9E3779B97F4A7C15;
    std::uint64_t z = seed;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
    z = (z ^ z >> 27) * 0x94D049BB133111EB;
    z ^= z >> 31;
    float u = float(z >> 40) * 0x1p-23f - 1;
    if (sizes.size() == 2)
      v = table ? u : u * 0.3f;
    else
      v = name.ends_with("bias") ? u * 0.2f : u * 0.2f + 1;
  }
  return tensor;
}

Checkpoint checkpoint_of(const Json& json) {
  Checkpoint c;
  c.config = json.at("config");
  for (const auto& [name, sizes] : json.at("tensors").items()) {
    CheckpointTensor tensor;
    tensor.sizes = sizes.get<Sizes>();
    tensor.storage = "F32";
    tensor.decoded = Weight(drawn(name, tensor.sizes));
    c.tensors[name] = std::move(tensor);
  }
  return c;
}

std::vector<float> expected_of(const Json& json) {
  std::string text = json.at("expected");
  std::vector<std::uint8_t> bytes;
  unsigned bits = 0, count = 0;
  for (char c : text) {
    static const std::string digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::size_t digit = digits.find(c);
    if (digit == digits.npos) break;
    bits = bits << 6 | unsigned(digit);
    if ((count += 6) >= 8) bytes.push_back(std::uint8_t(bits >> (count -= 8)));
  }
  std::vector<float> numbers(bytes.size() / 4);
  std::memcpy(numbers.data(), bytes.data(), numbers.size() * 4);
  return numbers;
}

const Json& case_named(const std::string& name) {
  for (const Json& each : vectors().at("cases"))
    if (each.at("name") == name) return each;
  return vectors();
}

double cosine(std::span<const float> a, std::span<const float> b) {
  double ab = 0, aa = 0, bb = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    ab += double(a[i]) * b[i];
    aa += double(a[i]) * a[i];
    bb += double(b[i]) * b[i];
  }
  return ab / std::sqrt(aa * bb);
}

// Calls a program as generation does: teacher-forced, so many tokens at a time, the rest one by one.
class Caller {
 public:
  Caller(const Program& program, LanguageModel model) : model_(std::move(model)) {
    for (const auto& function : program.functions) functions_.push_back(function.get());
    for (const Function* f : functions_) runners_.push_back(std::make_unique<cpu::Runner>(*f, cpu::RunOptions{}));
    for (const CacheLayout& c : model_.caches)
      for (const std::string& name : {c.keys, c.values})
        past_[name] = Tensor(model_.cache == Cache::io ? logits_dtype() : DType::fp32, c.shape);
  }

  // Logits [vocabulary] of the last of `tokens`, which begin at `position`.
  Result<std::vector<float>> operator()(std::vector<std::int64_t> tokens, std::int64_t position) {
    std::size_t which = function_for(tokens.size());
    const Function& function = *functions_[which];
    Dim fixed = function.body.input("input_ids").shape()[1];
    std::size_t valid = tokens.size();
    if (fixed.known()) tokens.resize(std::size_t(fixed.value()), 7);  // whatever stands beyond
    NamedTensors inputs{{"input_ids", Tensor::ints(tokens).reshaped({1, std::int64_t(tokens.size())})}};
    if (function.body.input("position")) inputs["position"] = Tensor::ints({position});
    if (function.body.input("last")) inputs["last"] = Tensor::ints({std::int64_t(valid) - 1});
    if (model_.cache == Cache::io) inputs.insert(past_.begin(), past_.end());
    share_states(which);
    Tensors results = POM_TRY(runners_[which]->run(inputs));
    for (const CacheLayout& c : model_.caches) {
      if (model_.cache != Cache::io) break;
      put(c, c.keys, results[index_of(function, c.new_keys)], position, valid);
      put(c, c.values, results[index_of(function, c.new_values)], position, valid);
    }
    std::vector<double> numbers = results[index_of(function, "logits")].numbers();
    return std::vector<float>(numbers.begin(), numbers.end());
  }
  std::size_t most() const { return std::size_t(model_.cache == Cache::none ? model_.context : model_.prefill); }

 private:
  DType logits_dtype() const { return functions_[0]->body.input(model_.caches[0].keys).dtype(); }
  std::size_t function_for(std::size_t count) const {
    for (std::size_t i = 0; i < functions_.size(); ++i) {
      Dim size = functions_[i]->body.input("input_ids").shape()[1];
      if (!size.known() || std::size_t(size.value()) >= count) return i;
    }
    return 0;
  }
  static std::size_t index_of(const Function& function, const std::string& name) {
    Values results = function.body.results();
    for (std::size_t i = 0; i < results.size(); ++i)
      if (results[i].name() == name) return i;
    ADD_FAILURE() << "no output " << name;
    return 0;
  }
  void share_states(std::size_t which) {
    if (model_.cache == Cache::state && which != latest_)
      for (const CacheLayout& c : model_.caches)
        for (const std::string& name : {c.keys, c.values})
          runners_[which]->state(name) = runners_[latest_]->state(name);
    latest_ = which;
  }
  void put(const CacheLayout& c, const std::string& name, const Tensor& rows, std::int64_t position,
           std::size_t count) {
    Tensor& cache = past_[name];
    std::size_t row = std::size_t(c.shape[3]) * element_size_bytes(cache.dtype());
    for (std::int64_t head = 0; head < c.shape[1]; ++head)
      for (std::size_t t = 0; t < count; ++t) {
        std::int64_t place = position + std::int64_t(t);
        if (c.rotating) place %= c.places;
        std::memcpy(cache.mutable_data() + std::size_t(head * c.places + place) * row,
                    rows.data() + (std::size_t(head * rows.sizes()[2]) + t) * row, row);
      }
  }

  LanguageModel model_;
  std::vector<const Function*> functions_;
  std::vector<std::unique_ptr<cpu::Runner>> runners_;
  std::size_t latest_ = 0;
  NamedTensors past_;
};

struct Form {
  const char* name;
  BuildOptions options;
  double least_cosine = 0.99999;
};
std::vector<Form> forms() {
  BuildOptions base{.context = 48, .prefill = 5, .dtype = DType::fp32};
  std::vector<Form> all;
  auto add = [&](const char* name, auto change, double least = 0.99999) {
    BuildOptions o = base;
    change(o);
    all.push_back({name, o, least});
  };
  add("memory, state", [](BuildOptions& o) { o.in_memory = true; });
  add("memory, io", [](BuildOptions& o) { o.in_memory = true, o.cache = Cache::io; });
  add("memory, none", [](BuildOptions& o) { o.in_memory = true, o.cache = Cache::none; });
  add("gpu, state", [](BuildOptions&) {});
  add("gpu, io", [](BuildOptions& o) { o.cache = Cache::io, o.split_head = 3; });
  add("gpu, io, iOS17", [](BuildOptions& o) { o.cache = Cache::io, o.target = Target::iOS17; });
  add("ane, io", [](BuildOptions& o) { o.engine = Engine::ane, o.cache = Cache::io; });
  add("ane, state", [](BuildOptions& o) { o.engine = Engine::ane, o.split_head = 2; });
  add("ane, none", [](BuildOptions& o) { o.engine = Engine::ane, o.cache = Cache::none; });
  add("gpu, state, fp16", [](BuildOptions& o) { o.dtype = DType::fp16; }, 0.999);
  add(
      "ane, io, fp16", [](BuildOptions& o) { o.dtype = DType::fp16, o.engine = Engine::ane, o.cache = Cache::io; },
      0.999);
  return all;
}

class Family : public testing::TestWithParam<const char*> {};

TEST_P(Family, ComputesWhatTransformersDoes) {
  const Json& json = case_named(GetParam());
  ASSERT_TRUE(json.contains("config"));
  Checkpoint checkpoint = checkpoint_of(json);
  std::vector<float> expected = expected_of(json);
  std::vector<std::int64_t> tokens = vectors().at("tokens").get<std::vector<std::int64_t>>();
  std::size_t columns = json.at("columns");
  ASSERT_EQ(expected.size(), tokens.size() * columns);
  for (const Form& form : forms()) {
    SCOPED_TRACE(form.name);
    auto program = build_program(checkpoint, form.options);
    ASSERT_TRUE(program) << describe(program.error());
    auto model = language_model_of(*program);
    ASSERT_TRUE(model) << describe(model.error());
    Caller call(*program, *model);
    // A prompt of 16 tokens as the form takes them, then one at a time; without a cache all that came before.
    for (std::size_t at = 0; at < tokens.size();) {
      std::size_t count = model->cache == Cache::none ? at + 1 : at < 16 ? std::min(call.most(), 16 - at) : 1;
      std::size_t begin = model->cache == Cache::none ? 0 : at;
      auto logits = call({tokens.begin() + std::ptrdiff_t(begin), tokens.begin() + std::ptrdiff_t(begin + count)},
                         std::int64_t(begin));
      ASSERT_TRUE(logits) << describe(logits.error());
      at = begin + count;
      std::span<const float> right(&expected[(at - 1) * columns], columns);
      ASSERT_EQ(logits->size(), columns);
      ASSERT_GE(cosine(*logits, right), form.least_cosine) << "token " << at;
      if (form.options.dtype == DType::fp32) {
        auto best = [](std::span<const float> v) { return std::max_element(v.begin(), v.end()) - v.begin(); };
        ASSERT_EQ(best(*logits), best(right)) << "token " << at;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Decoders, Family,
                         testing::Values("llama", "llama_biased", "llama3", "llama_linear", "llama_dynamic",
                                         "llama_yarn", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3", "phi3",
                                         "phi3_longrope", "gpt2", "opt", "opt_after", "gpt_neox", "gpt_neox_sequential",
                                         "mixtral", "qwen3_moe", "smollm3"));

class EncoderFamily : public testing::TestWithParam<const char*> {};

TEST_P(EncoderFamily, ComputesWhatTransformersDoes) {
  const Json& json = case_named(GetParam());
  ASSERT_TRUE(json.contains("config"));
  Checkpoint checkpoint = checkpoint_of(json);
  checkpoint.sentence_steps = {{.poolings = {"mean"}}, {.kind = SentenceStep::Kind::normalize}};
  std::vector<float> expected = expected_of(json);
  std::vector<std::int64_t> tokens = vectors().at("tokens").get<std::vector<std::int64_t>>();
  constexpr std::size_t valid = 30;  // as families_vectors.py masks
  std::replace(tokens.begin(), tokens.end(), std::int64_t(1), std::int64_t(3));
  std::vector<std::int64_t> attends(tokens.size(), 1);
  std::fill(attends.begin() + valid, attends.end(), 0);
  BuildOptions memory{.dtype = DType::fp32, .in_memory = true}, gpu{.dtype = DType::fp32}, old = gpu, ane = gpu;
  old.target = Target::iOS16;
  ane.engine = Engine::ane;
  ane.context = std::int64_t(tokens.size());
  for (const BuildOptions& options : {memory, gpu, old, ane}) {
    auto program = build_program(checkpoint, options);
    ASSERT_TRUE(program) << describe(program.error());
    EXPECT_FALSE(is_language_model(*program));
    auto row = [&](const std::vector<std::int64_t>& v) {
      return Tensor::ints(v).reshaped({1, std::int64_t(v.size())});
    };
    NamedTensors inputs{{"input_ids", row(tokens)}, {"attention_mask", row(attends)}};
    if (program->main().body.input("token_type_ids"))
      inputs["token_type_ids"] = row(std::vector<std::int64_t>(tokens.size(), 0));
    cpu::Runner runner(program->main(), {});
    auto results = runner.run(inputs);
    ASSERT_TRUE(results) << describe(results.error());
    std::size_t columns = json.at("columns");
    std::span<const float> got = (*results)[0].view<float>(), right(expected);
    std::vector<float> mean(columns, 0);
    for (std::size_t t = 0; t < valid; ++t) {
      ASSERT_GE(cosine(got.subspan(t * columns, columns), right.subspan(t * columns, columns)), 0.99999);
      for (std::size_t c = 0; c < columns; ++c) mean[c] += right[t * columns + c];
    }
    std::span<const float> embedding = (*results)[1].view<float>();
    EXPECT_GE(cosine(embedding, mean), 0.99999);
    EXPECT_NEAR(cosine(embedding, embedding), 1, 1e-6);
    double length = 0;
    for (float v : embedding) length += double(v) * v;
    EXPECT_NEAR(length, 1, 1e-5);
  }
}

INSTANTIATE_TEST_SUITE_P(Encoders, EncoderFamily, testing::Values("bert", "distilbert", "roberta"));

// Windows that come round: a prompt longer than the rotating cache, taken in pieces, then single tokens.
class Window : public testing::TestWithParam<const char*> {};

TEST_P(Window, ComesRound) {
  const Json& json = case_named(GetParam());
  Checkpoint checkpoint = checkpoint_of(json);
  std::vector<float> expected = expected_of(json);
  std::vector<std::int64_t> tokens = vectors().at("tokens").get<std::vector<std::int64_t>>();
  std::size_t columns = json.at("columns");
  for (Cache cache : {Cache::state, Cache::io})
    for (bool in_memory : {true, false})
      for (Engine engine : {Engine::gpu, Engine::ane}) {
        if (in_memory && engine == Engine::ane) continue;
        BuildOptions options{.engine = engine,
                             .cache = cache,
                             .context = 60,
                             .prefill = 5,
                             .dtype = DType::fp32,
                             .in_memory = in_memory};
        auto program = build_program(checkpoint, options);
        ASSERT_TRUE(program) << describe(program.error());
        auto model = language_model_of(*program);
        ASSERT_TRUE(model);
        ASSERT_TRUE(model->caches[0].rotating || model->caches[1].rotating);
        ASSERT_LT(std::min(model->caches[0].places, model->caches[1].places), 34);
        Caller call(*program, *model);
        for (std::size_t at = 0; at < tokens.size();) {
          std::size_t count = at < 34 ? std::min<std::size_t>(5, 34 - at) : 1;
          auto logits = call({tokens.begin() + std::ptrdiff_t(at), tokens.begin() + std::ptrdiff_t(at + count)},
                             std::int64_t(at));
          ASSERT_TRUE(logits) << describe(logits.error());
          at += count;
          ASSERT_GE(cosine(*logits, std::span(expected).subspan((at - 1) * columns, columns)), 0.99999) << at;
        }
      }
}

INSTANTIATE_TEST_SUITE_P(Windows, Window, testing::Values("mistral", "qwen2", "gemma2", "gemma3", "phi3"));

// Two thousand tokens (LONG_RUN), far past the window: both caches choose the same, and where looked at, what no cache
// at all does. Sanitized programs are slow, and see a tenth of that.
class LongRun : public testing::TestWithParam<const char*> {};

TEST_P(LongRun, EveryCacheSaysTheSame) {
  constexpr std::int64_t length = LONG_RUN, between = length / 5;
  Checkpoint checkpoint = checkpoint_of(case_named(GetParam()));
  Json config = Json::parse(checkpoint.config);
  config["max_position_embeddings"] = length + 1;
  checkpoint.config = config.dump();
  auto build = [&](Cache cache) {
    auto program = build_program(
        checkpoint, {.cache = cache, .context = length + 1, .prefill = 1, .dtype = DType::fp32, .in_memory = true});
    EXPECT_TRUE(program) << describe(program.error());
    return *std::move(program);
  };
  Program with_state = build(Cache::state), with_io = build(Cache::io), with_none = build(Cache::none);
  Caller state(with_state, *language_model_of(with_state)), io(with_io, *language_model_of(with_io)),
      none(with_none, *language_model_of(with_none));
  auto best = [](std::span<const float> v) { return std::max_element(v.begin(), v.end()) - v.begin(); };
  std::vector<std::int64_t> ids{1};
  for (std::int64_t at = 0; at < length; ++at) {
    auto of_state = state({ids.back()}, at), of_io = io({ids.back()}, at);
    ASSERT_TRUE(of_state && of_io);
    ASSERT_EQ(best(*of_state), best(*of_io)) << at;
    if ((at + 1) % between == 0) {
      auto of_none = none(ids, 0);
      ASSERT_TRUE(of_none) << describe(of_none.error());
      ASSERT_EQ(best(*of_state), best(*of_none)) << at;
      ASSERT_GE(cosine(*of_state, *of_none), 0.9999) << at;
      ASSERT_GE(cosine(*of_io, *of_none), 0.9999) << at;
    }
    // Greedy, but for a step aside now and then: tiny models with random weights soon repeat themselves.
    ids.push_back(at % 7 == 6 ? std::int64_t(at % 23) : best(*of_state));
  }
}

INSTANTIATE_TEST_SUITE_P(Windows, LongRun, testing::Values("mistral", "gemma3"));

TEST(Families, SayWhatTheyDoNotKnow) {
  Checkpoint checkpoint = checkpoint_of(case_named("llama"));
  auto message = [&](auto change) {
    Checkpoint changed = checkpoint;
    Json config = Json::parse(changed.config);
    change(config, changed);
    changed.config = config.dump();
    auto program = build_program(changed, {});
    return program ? std::string() : describe(program.error());
  };
  using testing::HasSubstr;
  EXPECT_THAT(message([](Json& c, auto&) { c["flux_capacitor"] = 1.21; }), HasSubstr("flux_capacitor = 1.21"));
  EXPECT_THAT(message([](Json& c, auto&) { c["model_type"] = "llama7"; }), HasSubstr("'llama7'"));
  EXPECT_THAT(message([](Json& c, auto&) { c["hidden_act"] = "sine"; }), HasSubstr("'sine'"));
  EXPECT_THAT(message([](Json& c, auto&) { c["rope_parameters"] = {{"rope_type", "spiral"}}; }), HasSubstr("'spiral'"));
  EXPECT_THAT(message([](Json& c, auto&) { c.erase("hidden_size"); }), HasSubstr("hidden_size"));
  EXPECT_THAT(message([](Json& c, auto&) { c["num_key_value_heads"] = 3; }), HasSubstr("4 heads"));
  EXPECT_THAT(
      message([](Json&, Checkpoint& c) { c.tensors["model.layers.0.self_attn.sinks"] = c.tensors.begin()->second; }),
      HasSubstr("'model.layers.0.self_attn.sinks'"));
  EXPECT_THAT(message([](Json&, Checkpoint& c) { c.tensors.erase("model.norm.weight"); }), HasSubstr("norm.weight"));
  // Parts that a family does not have are passed over when a model is said to be without, and only then.
  EXPECT_EQ(message([](Json& c, auto&) { c["is_decoder"] = c["add_cross_attention"] = false; }), "");
  EXPECT_THAT(message([](Json& c, auto&) { c["add_cross_attention"] = true; }),
              HasSubstr("add_cross_attention = true"));
}

// The text part of a Gemma 3 that sees pictures says what differs from transformers' Gemma3TextConfig() only.
TEST(Families, SizesThatAreLeftOutAreThoseOfTheClass) {
  auto decoder = find_family("gemma3_text")
                     ->decoder(R"({"model_type": "gemma3", "boi_token_index": 255999, "eos_token_id": [1, 106],
        "text_config": {"hidden_size": 2560, "intermediate_size": 10240, "model_type": "gemma3_text",
                        "num_hidden_layers": 34, "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
                        "sliding_window": 1024}})");
  ASSERT_TRUE(decoder) << describe(decoder.error());
  EXPECT_EQ(decoder->vocabulary, 262208);
  EXPECT_EQ(decoder->heads, 8);
  EXPECT_EQ(decoder->kv_heads, 4);
  EXPECT_EQ(decoder->head_dim, 256);
  EXPECT_EQ(decoder->positions, 131072);
  EXPECT_EQ(decoder->ropes[0].theta, 1e6);
  EXPECT_EQ(decoder->ropes[1].theta, 1e4);
  EXPECT_EQ(decoder->layers[0].score_scale, 1.0 / 16);
  EXPECT_EQ(decoder->layers[0].window, 1024);
  EXPECT_EQ(decoder->layers[5].window, 0);
}

}  // namespace
}  // namespace pomona::llm
