#include "llm/language_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "llm/decoder_program.h"
#include "llm/families/families.h"

namespace pomona::llm {
namespace {

using Json = nlohmann::json;

constexpr const char *tokenizer_key = "com.pomona.llm.tokenizer",
                     *tokenizer_config_key = "com.pomona.llm.tokenizer_config",
                     *generation_config_key = "com.pomona.llm.generation_config";

// Without a word about it, a context is at most this: caches of a model's own 131,072 would take gigabytes.
constexpr std::int64_t usual_context = 4096;
// What the Neural Engine likes states' dims to be multiples of.
constexpr std::int64_t place_step = 32;

// Layers whose caches are alike share two states, a row for each.
void stack_states(std::vector<CachePlan>& caches) {
  std::map<std::string, std::int64_t> rows;
  for (CachePlan& cache : caches) {
    cache.suffix = cache.rotating ? fmt::format("_window_{}", cache.places) : "";
    cache.row = rows[cache.suffix]++;
  }
  for (CachePlan& cache : caches) cache.rows = rows[cache.suffix];
}

Result<DecoderPlan> plan_of(const Decoder& d, const BuildOptions& options) {
  DecoderPlan plan{options, {}};
  BuildOptions& o = plan.options;
  if (o.context == 0) o.context = std::min(d.positions, usual_context);
  POM_REQUIRE(o.context > 0, "a context of {} holds nothing", o.context);
  POM_REQUIRE(d.position_embedding.empty() || o.context <= d.positions,
              "the context is to be {}, but the model has {} learned positions", o.context, d.positions);
  POM_REQUIRE(o.prefill > 0, "a prefill of {} tokens is none", o.prefill);
  o.prefill = o.cache == Cache::none ? o.context : std::min(o.prefill, o.context);
  POM_REQUIRE(o.cache != Cache::state || o.target >= Target::iOS18, "a cache held as state needs iOS18, not {}",
              name(o.target));
  POM_REQUIRE(o.split_head >= 1 && o.split_head <= d.vocabulary, "the output projection cannot be in {} parts",
              o.split_head);
  POM_REQUIRE(!o.stack_states || o.cache == Cache::state, "only states can be stacked");
  for (const Layer& layer : d.layers) {
    CachePlan cache{o.context, false, fmt::format("_{}", plan.caches.size())};
    if (layer.window > 0) {
      std::int64_t places = (layer.window + o.prefill - 1 + place_step - 1) / place_step * place_step;
      if (places < o.context) cache.places = places, cache.rotating = true;
    }
    plan.caches.push_back(cache);
  }
  if (o.stack_states) stack_states(plan.caches);
  return plan;
}

Json description(const Decoder& d, const DecoderPlan& plan) {
  const BuildOptions& o = plan.options;
  Json json{{"family", d.family},
            {"engine", o.engine == Engine::ane ? "ane" : "gpu"},
            {"cache", o.cache == Cache::state ? "state"
                      : o.cache == Cache::io  ? "io"
                                              : "none"},
            {"context", o.context},
            {"prefill", o.prefill},
            {"vocabulary", d.vocabulary},
            {"in_memory", o.in_memory},
            {"all_logits", o.all_logits}};
  for (const Rope& rope : d.ropes)
    if (*rope.config.rope_type == "longrope" && !rope.config.long_factor->empty() &&
        *rope.config.long_factor != *rope.config.short_factor)
      json["turns_change_at"] = rope.config.original_positions->value_or(d.positions);
  Json caches = Json::array();
  if (o.cache != Cache::none)
    for (std::size_t i = 0; i < plan.caches.size(); ++i) {
      const CachePlan& own = plan.caches[i];
      if (own.row > 0) continue;
      Json cache{{"keys", own.keys()},
                 {"values", own.values()},
                 {"shape", Ints{own.rows, d.kv_heads, own.places, d.head_dim}},
                 {"rotating", own.rotating}};
      if (o.cache == Cache::io) {
        cache["new_keys"] = fmt::format("new_keys_{}", i);
        cache["new_values"] = fmt::format("new_values_{}", i);
      }
      caches.push_back(cache);
    }
  json["caches"] = caches;
  return json;
}

void describe(Program& program, const Json& json, const Checkpoint& checkpoint) {
  auto& user = program.metadata.user;
  user[description_key] = json.dump();
  if (!checkpoint.tokenizer.empty()) user[tokenizer_key] = checkpoint.tokenizer;
  if (!checkpoint.tokenizer_config.empty()) user[tokenizer_config_key] = checkpoint.tokenizer_config;
  if (!checkpoint.generation_config.empty()) user[generation_config_key] = checkpoint.generation_config;
}

// What leads out of the MLP in the first and the last eighth of the layers and in every third between, where
// llama.cpp's mixtures of 4 bits (Q4_K_M) have 6; and what gives values, which there it is, too, and everywhere where
// several heads share them, as it is small then.
std::vector<std::string> fragile_weights(const Decoder& d) {
  std::int64_t count = std::int64_t(d.layers.size()), eighth = count / 8;
  std::vector<std::string> names;
  for (std::int64_t i = 0; i < count; ++i) {
    bool chosen = i < eighth || i >= count - eighth || (i - eighth) % 3 == 2;
    if (!d.names.down.empty() && chosen) names.push_back(numbered(d.names.down, i) + ".weight");
    if (!d.names.value.empty() && (chosen || d.kv_heads < d.heads))
      names.push_back(numbered(d.names.value, i) + ".weight");
  }
  return names;
}

// Which weight the logits come from: the embedding, where the configuration says so or there is no other.
Status settle_head(Decoder& d, Weights& weights) {
  bool own = weights.has(d.head + ".weight");
  if (own && !d.tied.value_or(false)) return {};
  POM_REQUIRE(own || d.tied.value_or(true),
              "the checkpoint has no tensor '{}.weight', and config.json says that the "
              "output projection is not the embedding",
              d.head);
  if (own) weights.pass_over(d.head + ".weight");
  d.head = d.embedding;
  return {};
}

Result<Program> build_decoder(Decoder d, const Checkpoint& checkpoint, const BuildOptions& options,
                              BuildReport* report) {
  DecoderPlan plan = POM_TRY(plan_of(d, options));
  const BuildOptions& o = plan.options;
  Weights weights(
      checkpoint,
      {d.prefixes, d.ignored, {o.target, o.dtype, o.in_memory}, o.engine == Engine::gpu && o.keep_quantised});
  POM_TRY(settle_head(d, weights));
  struct Wanted {
    const char* name;
    std::int64_t tokens;
  };
  std::vector<Wanted> wanted;
  if (o.in_memory)
    wanted = {{"main", 0}};
  else if (o.cache == Cache::none)
    wanted = {{"main", o.context}};
  // Several functions in one model came with iOS18.
  else if (o.prefill == 1 || o.target < Target::iOS18)
    wanted = {{"decode", 1}};
  else
    wanted = {{"decode", 1}, {"prefill", o.prefill}};
  if (o.target < Target::iOS18 && !o.in_memory && o.cache != Cache::none) plan.options.prefill = 1;
  Program program;
  if (o.calibration_tokens > 0) {
    DecoderPlan alone = plan;
    alone.options.cache = Cache::none;
    alone.options.all_logits = true;
    std::int64_t own = d.position_embedding.empty() ? o.calibration_tokens : d.positions;
    alone.options.context = std::min(o.calibration_tokens, own);
    Function& function = program.add_function("calibration", o.target);
    POM_TRY_IN(DecoderFunction(d, weights, alone, function, alone.options.context).build(), "function 'calibration'");
  }
  for (Wanted each : wanted) {
    DecoderFunction function(d, weights, plan, program.add_function(each.name, o.target), each.tokens);
    POM_TRY_IN(function.build(), "function '{}'", each.name);
  }
  POM_TRY(weights.check());
  if (report) *report = {weights.lines(), fragile_weights(d)};
  if (wanted.size() > 1) program.default_function = "decode";
  describe(program, description(d, plan), checkpoint);
  return program;
}

}  // namespace

Result<Program> build_program(const Checkpoint& checkpoint, const BuildOptions& options, BuildReport* report) {
  std::string type = POM_TRY(model_type_of(checkpoint.config));
  const Family* family = find_family(type);
  if (!family) {
    std::string known;
    for (const Family& each : families()) known += (known.empty() ? "" : ", ") + std::string(each.model_type);
    return fail("the model_type is '{}', which is no family that is known", type).advise("one of " + known);
  }
  if (family->encoder) {
    Encoder encoder = POM_TRY_IN(family->encoder(checkpoint.config), "family '{}'", type);
    Program program = POM_TRY_IN(build_encoder(encoder, checkpoint, options, report), "family '{}'", type);
    Json json{{"family", type}, {"encoder", true}};
    if (checkpoint.most_tokens > 0) json["most_tokens"] = std::min(checkpoint.most_tokens, encoder.positions);
    describe(program, json, checkpoint);
    return program;
  }
  Decoder decoder = POM_TRY_IN(family->decoder(checkpoint.config), "family '{}'", type);
  decoder.family = type;
  return POM_TRY_IN(build_decoder(std::move(decoder), checkpoint, options, report), "family '{}'", type);
}

bool is_language_model(const Program& program) {
  auto at = program.metadata.user.find(description_key);
  if (at == program.metadata.user.end()) return false;
  Json json = Json::parse(at->second, nullptr, false);
  return json.is_object() && json.contains("caches");
}

std::string tokenizer_in(const Program& program) {
  auto at = program.metadata.user.find(tokenizer_key);
  return at == program.metadata.user.end() ? std::string() : at->second;
}

std::int64_t most_tokens_in(const Program& program) {
  auto at = program.metadata.user.find(description_key);
  if (at == program.metadata.user.end()) return 0;
  Json json = Json::parse(at->second, nullptr, false);
  if (!json.is_object() || !json.contains("most_tokens") || !json["most_tokens"].is_number_integer()) return 0;
  return std::max<std::int64_t>(0, json["most_tokens"].get<std::int64_t>());
}

bool is_encoder(const Checkpoint& checkpoint) {
  auto type = model_type_of(checkpoint.config);
  const Family* family = type ? find_family(*type) : nullptr;
  return family && family->encoder;
}

Result<LanguageModel> language_model_of(const Program& program) {
  const auto& user = program.metadata.user;
  auto at = user.find(description_key);
  POM_REQUIRE(at != user.end(), "this is no language model: its metadata has no '{}'", description_key);
  Json json = Json::parse(at->second, nullptr, false);
  POM_REQUIRE(json.is_object() && json.contains("caches"), "the metadata '{}' describe no decoder", description_key);
  try {
    LanguageModel m;
    m.family = json.at("family");
    m.engine = json.at("engine") == "ane" ? Engine::ane : Engine::gpu;
    std::string cache = json.at("cache");
    m.cache = cache == "state" ? Cache::state : cache == "io" ? Cache::io : Cache::none;
    m.context = json.at("context");
    m.prefill = json.at("prefill");
    m.vocabulary = json.at("vocabulary");
    m.turns_change_at = json.value("turns_change_at", std::int64_t(0));
    m.in_memory = json.at("in_memory");
    m.all_logits = json.at("all_logits");
    for (const Json& each : json.at("caches")) {
      CacheLayout layout;
      layout.keys = each.at("keys");
      layout.values = each.at("values");
      layout.new_keys = each.value("new_keys", "");
      layout.new_values = each.value("new_values", "");
      layout.shape = each.at("shape").get<Sizes>();
      POM_REQUIRE(layout.shape.size() == 4, "the metadata '{}' have a cache of rank {}", description_key,
                  layout.shape.size());
      layout.places = layout.shape[2];
      layout.rotating = each.at("rotating");
      m.caches.push_back(std::move(layout));
    }
    auto text = [&](const char* key) {
      auto found = user.find(key);
      return found == user.end() ? std::string() : found->second;
    };
    m.tokenizer = text(tokenizer_key);
    m.tokenizer_config = text(tokenizer_config_key);
    m.generation_config = text(generation_config_key);
    return m;
  } catch (const Json::exception& e) {
    return fail("the metadata '{}' are not as they were written: {}", description_key, e.what());
  }
}

}  // namespace pomona::llm
