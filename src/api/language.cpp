#include "api/language.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <numeric>

#include "api/files.h"
#include "api/model.h"
#include "llm/all_logits.h"

namespace pomona::api {
namespace {

using Json = nlohmann::json;

std::string token_text(const Json& config, const char* key) {
  if (!config.is_object() || !config.contains(key)) return {};
  const Json& token = config[key];
  if (token.is_string()) return token;
  return token.is_object() && token.contains("content") && token["content"].is_string() ? token["content"] : "";
}

// A string, or a list of named ones of which one is the default.
std::string template_text(const Json& config) {
  if (!config.is_object() || !config.contains("chat_template")) return {};
  const Json& found = config["chat_template"];
  if (found.is_string()) return found;
  std::string text;
  for (const Json& each : found.is_array() ? found : Json::array()) {
    if (!each.is_object() || !each.contains("template") || !each["template"].is_string()) continue;
    bool usual = each.contains("name") && each["name"] == "default";
    if (usual || text.empty()) text = each["template"];
    if (usual) break;
  }
  return text;
}

void find_ends(Language& language, const Json& generation) {
  auto add = [&](std::optional<int> id) {
    if (id && std::find(language.ends.begin(), language.ends.end(), *id) == language.ends.end())
      language.ends.push_back(*id);
  };
  if (generation.is_object() && generation.contains("eos_token_id")) {
    const Json& ids = generation["eos_token_id"];
    for (const Json& id : ids.is_array() ? ids : Json::array({ids}))
      if (id.is_number_integer()) add(id.get<int>());
  }
  const llm::Tokenizer& tokenizer = *language.tokenizer;
  if (!language.eos.empty()) add(tokenizer.id_of(language.eos));
  // How known templates end a turn, where the configuration does not say so.
  for (const char* token : {"<|im_end|>", "<|eot_id|>", "<end_of_turn>", "<|end|>", "<|eom_id|>", "<|endoftext|>"})
    if (auto id = tokenizer.id_of(token); id && tokenizer.is_special(*id)) add(id);
}

Result<Program> program_of(const std::string& path, const LanguageOptions& options) {
  std::string format = POM_TRY(format_of(path));
  if (format.find("Core ML") != format.npos || format == "MIL text") {
    Model model = POM_TRY(open_model(path));
    if (options.all_logits) model = POM_TRY(with_all_logits(std::move(model), path));
    return std::move(model.program);
  }
  llm::Checkpoint checkpoint = POM_TRY(llm::open_checkpoint(path));
  return llm::build_program(checkpoint, {.context = options.context,
                                         .prefill = 64,
                                         .dtype = DType::fp32,
                                         .in_memory = true,
                                         .all_logits = options.all_logits});
}

}  // namespace

Result<Model> with_all_logits(Model model, const std::string& path) {
  if (llm::give_all_logits(model.program)) return model;
  return open_model(path);  // what was half changed is of no use
}

Result<Language> open_language(const std::string& path, const LanguageOptions& options) {
  Stopwatch watch;
  Language language;
  auto program = std::make_shared<Program>(POM_TRY(program_of(path, options)));
  language.model = POM_TRY_IN(llm::language_model_of(*program), "model '{}'", path);
  language.program = std::move(program);
  if (!language.model.tokenizer.empty())
    language.tokenizer = POM_TRY_IN(llm::Tokenizer::from_json(language.model.tokenizer), "model '{}'", path);
  Json config = Json::parse(language.model.tokenizer_config, nullptr, false);
  language.bos = token_text(config, "bos_token");
  language.eos = token_text(config, "eos_token");
  language.chat_template = template_text(config);
  if (language.tokenizer) find_ends(language, Json::parse(language.model.generation_config, nullptr, false));
  language.load_seconds = watch.seconds();
  return language;
}

Result<llm::SamplingOptions> sampling_of(const SamplingFlags& flags) {
  auto within = [](double value, double low, double high, const char* name) -> Status {
    POM_REQUIRE(value >= low && value <= high, "{} is {}; it lies between {} and {}", name, value, low, high);
    return {};
  };
  POM_TRY(within(flags.temperature, 0, 100, "the temperature"));
  POM_TRY(within(flags.top_p, 0, 1, "top-p"));
  POM_TRY(within(flags.min_p, 0, 1, "min-p"));
  POM_TRY(within(flags.top_k, 0, 1e9, "top-k"));
  POM_TRY(within(flags.repetition_penalty, 1e-3, 1e3, "the repetition penalty"));
  POM_TRY(within(flags.presence_penalty, -100, 100, "the presence penalty"));
  POM_TRY(within(flags.frequency_penalty, -100, 100, "the frequency penalty"));
  llm::SamplingOptions options{.temperature = flags.temperature,
                               .top_k = flags.top_k,
                               .top_p = flags.top_p,
                               .min_p = flags.min_p,
                               .repetition_penalty = flags.repetition_penalty,
                               .presence_penalty = flags.presence_penalty,
                               .frequency_penalty = flags.frequency_penalty,
                               .seed = std::uint64_t(*flags.seed)};
  for (const std::string& bias : *flags.logit_bias) {
    int id = 0;
    auto [end, failed] = std::from_chars(bias.data(), bias.data() + bias.size(), id);
    POM_REQUIRE(failed == std::errc() && *end == '=', "--logit-bias {}: it is ID=BIAS", bias);
    char* stop = nullptr;
    double value = std::strtod(end + 1, &stop);
    POM_REQUIRE(stop != end + 1 && *stop == 0, "--logit-bias {}: it is ID=BIAS", bias);
    options.logit_bias[id] = value;
  }
  return options;
}

namespace {

TokenChance chance_of(int id, std::span<const float> logits, std::size_t most) {
  double top = *std::max_element(logits.begin(), logits.end()), sum = 0;
  for (float each : logits) sum += std::exp(double(each) - top);
  double whole = top + std::log(sum);
  TokenChance chance{id, double(logits[std::size_t(id)]) - whole, {}};
  std::vector<int> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  most = std::min(most, order.size());
  auto more = [&](int a, int b) {
    float x = logits[std::size_t(a)], y = logits[std::size_t(b)];
    return x != y ? x > y : a < b;
  };
  std::partial_sort(order.begin(), order.begin() + std::ptrdiff_t(most), order.end(), more);
  for (std::size_t i = 0; i < most; ++i)
    chance.most.emplace_back(order[i], double(logits[std::size_t(order[i])]) - whole);
  return chance;
}

}  // namespace

Answer::Answer(const Language& language, llm::SamplingOptions options)
    : language_(&language), sampler_(std::move(options)), stream_(language.tokenizer) {}

Result<Answer> Answer::begin(const Language& language, std::vector<int> prompt, const SamplingFlags& flags) {
  POM_REQUIRE(language.tokenizer, "the model has no tokenizer");
  POM_REQUIRE(!prompt.empty(), "the prompt is empty");
  POM_REQUIRE(flags.max_tokens >= 0, "--max-tokens is {}", *flags.max_tokens);
  POM_REQUIRE(prompt.size() <= std::size_t(language.model.context),
              "the prompt has {} tokens, and the model's context is {}", prompt.size(), language.model.context);
  Answer answer(language, POM_TRY(sampling_of(flags)));
  answer.stops_ = *flags.stop;
  answer.most_ = flags.max_tokens;
  answer.text_ = prompt;
  answer.generation_.prompt = std::move(prompt);
  return answer;
}

// Gives out what can no longer be part of a stop string; false when one was found, or the reader wants no more.
bool Answer::emit(std::string_view piece, const Print& print) {
  held_ += piece;
  std::size_t found = held_.npos, keep = 0;
  for (const std::string& stop : stops_) {
    if (stop.empty()) continue;
    found = std::min(found, held_.find(stop));
    for (std::size_t n = std::min(stop.size() - 1, held_.size()); n > keep; --n)
      if (held_.ends_with(std::string_view(stop).substr(0, n))) keep = n;
  }
  if (found != held_.npos) keep = held_.size() - found;
  std::string certain = held_.substr(0, held_.size() - keep);
  held_.erase(0, certain.size());
  generation_.text += certain;
  bool wanted = certain.empty() || !print || print(certain);
  if (found != held_.npos || !wanted) generation_.finish = found != held_.npos ? "stop" : "cancelled";
  return generation_.finish.empty();
}

Result<bool> Answer::advance(llm::Session& session, const Print& print) {
  auto finish = [&](const char* why) {
    generation_.finish = why;
    std::string rest = held_ + stream_.finish();
    held_.clear();
    generation_.text += rest;
    if (!rest.empty() && print) print(rest);
    return false;
  };
  if (!generation_.finish.empty()) return false;
  if (std::int64_t(generation_.ids.size()) >= most_) return finish("length");
  Stopwatch watch;
  int id = sampler_.choose(session.logits(), text_, generation_.prompt.size());
  const auto& ends = language_->ends;
  if (std::find(ends.begin(), ends.end(), id) != ends.end()) return finish("stop");
  if (noted_) generation_.chances.push_back(chance_of(id, session.logits(), *noted_));
  generation_.ids.push_back(id);
  text_.push_back(id);
  if (!emit(stream_.add(id), print)) return false;
  if (std::int64_t(generation_.ids.size()) >= most_ || session.room() == 0) return finish("length");
  POM_TRY(session.feed({id}));
  generation_.decode_seconds += watch.seconds();
  return true;
}

Result<Generation> generate(const Language& language, llm::Session& session, std::vector<int> prompt,
                            const SamplingFlags& flags, const Print& print) {
  Answer answer = POM_TRY(Answer::begin(language, prompt, flags));
  Stopwatch watch;
  POM_TRY(session.become(prompt));
  double seconds = watch.seconds();
  while (POM_TRY(answer.advance(session, print))) {
  }
  Generation generation = answer.so_far();
  generation.prompt_seconds = seconds;
  return generation;
}

}  // namespace pomona::api
