#include <algorithm>
#include <filesystem>

#include <nlohmann/json.hpp>
#include "llm/checkpoints/fields.h"
#include "llm/checkpoints/sources.h"

namespace pomona::llm {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using Kind = SentenceStep::Kind;

// Names of files before those of poolings were spelled out, in the order in which their vectors follow each other.
constexpr std::pair<const char*, const char*> flags[] = {{"pooling_mode_cls_token", "cls"},
                                                         {"pooling_mode_max_tokens", "max"},
                                                         {"pooling_mode_mean_tokens", "mean"},
                                                         {"pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens"},
                                                         {"pooling_mode_weightedmean_tokens", "weightedmean"},
                                                         {"pooling_mode_lasttoken", "lasttoken"}};

Result<SentenceStep> pooling_step(const Json& settings) {
  SentenceStep step;
  if (auto mode = settings.find("pooling_mode"); mode != settings.end()) {
    if (mode->is_string()) step.poolings.push_back(*mode);
    for (const Json& each : mode->is_array() ? *mode : Json::array())
      if (each.is_string()) step.poolings.push_back(each);
  }
  if (step.poolings.empty())
    for (const auto& [key, name] : flags)
      if (settings.contains(key) && settings[key] == true) step.poolings.emplace_back(name);
  POM_REQUIRE(!step.poolings.empty(), "the pooling's settings name no way to pool");
  return step;
}

// "torch.nn.modules.activation.Tanh" as a config.json would call it.
Result<std::string> activation_of(const Json& settings) {
  std::string full = text_field(settings, "activation_function", "torch.nn.modules.activation.Tanh");
  std::string name = full.substr(full.rfind('.') + 1);
  if (name == "Identity") return std::string();
  for (const char* known : {"Tanh", "ReLU", "GELU", "SiLU", "Sigmoid"})
    if (name == known) {
      std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return char(std::tolower(c)); });
      return name;
    }
  return fail("the activation '{}' is not known", full);
}

bool is_true(const Json& settings, const char* key) { return settings.contains(key) && settings[key] == true; }

// The module's own weights become tensors of the checkpoint, with the folder before their names.
Status add_tensors(const fs::path& folder, const std::string& path, Checkpoint& checkpoint) {
  std::error_code ignored;
  fs::path file = folder / path / "model.safetensors";
  if (!fs::exists(file, ignored)) file = folder / path / "pytorch_model.bin";
  for (const auto& [name, tensor] : POM_TRY(read_weights(file, nullptr)))
    checkpoint.tensors[path + "." + name] = tensor_of(as_floats(tensor.weight), tensor.stored, tensor.bytes);
  return {};
}

Result<SentenceStep> step_of(const std::string& type, const Json& settings, const fs::path& folder,
                             const std::string& path, Checkpoint& checkpoint) {
  if (type == "Pooling") return pooling_step(settings);
  POM_TRY(add_tensors(folder, path, checkpoint));
  SentenceStep step;
  if (type == "LayerNorm") {
    step.kind = Kind::layer_norm;
    step.weights = path + ".norm";
    return step;
  }
  step.kind = Kind::dense;
  step.weights = path + ".linear";
  step.activation = POM_TRY(activation_of(settings));
  step.residual = is_true(settings, "use_residual");
  if (step.residual && checkpoint.tensors.contains(path + ".residual.weight"))
    step.residual_weights = path + ".residual";
  for (const char* key : {"module_input_name", "module_output_name"})
    POM_REQUIRE(text_field(settings, key, "sentence_embedding") == "sentence_embedding",
                "its {} is '{}', and only the vector of the whole text is known", key, text_field(settings, key, ""));
  return step;
}

Status add_step(const Json& module, const fs::path& folder, Checkpoint& checkpoint) {
  POM_REQUIRE(module.is_object(), "an entry of modules.json is no object");
  std::string type = text_field(module, "type", ""), path = text_field(module, "path", "");
  std::string name = type.substr(type.rfind('.') + 1);
  if (name == "Transformer" || name == "Dropout") return {};
  auto& steps = checkpoint.sentence_steps;
  POM_REQUIRE(name == "Normalize" || name == "Pooling" || name == "Dense" || name == "LayerNorm",
              "modules.json has a step '{}', which is not known", type);
  POM_REQUIRE(steps.empty() == (name == "Pooling"), "modules.json has the step '{}' {}", type,
              steps.empty() ? "before any pooling" : "twice");
  if (name == "Normalize") {
    steps.push_back({.kind = Kind::normalize});
    return {};
  }
  POM_REQUIRE(path.find("..") == path.npos, "modules.json names a folder '{}' that is not within this one", path);
  Json settings = Json::parse(POM_TRY(text_of(folder / path / "config.json")), nullptr, false);
  POM_REQUIRE(settings.is_object(), "'{}/config.json' is missing or no JSON object", path);
  steps.push_back(POM_TRY_IN(step_of(name, settings, folder, path, checkpoint), "step '{}'", path));
  return {};
}

// How long a text may be: of a sentence encoder its own word, else that of the tokenizer.
Status read_limits(const fs::path& model, Checkpoint& checkpoint) {
  Json own = Json::parse(POM_TRY(text_of(model / "sentence_bert_config.json")), nullptr, false);
  Json tokenizer = Json::parse(checkpoint.tokenizer_config, nullptr, false);
  constexpr double most = 1e9;  // "none" is written as 1e30
  double length = own.is_object() ? number_field(own, "max_seq_length", 0) : 0;
  if (length <= 0 && tokenizer.is_object()) length = number_field(tokenizer, "model_max_length", 0);
  if (length > 0 && length < most) checkpoint.most_tokens = std::int64_t(length);
  if (!own.is_object() || !is_true(own, "do_lower_case") || checkpoint.tokenizer.empty()) return {};
  Json parts = Json::parse(checkpoint.tokenizer, nullptr, false);
  if (!parts.is_object()) return {};
  Json steps = Json::array({Json{{"type", "Lowercase"}}});
  if (parts.contains("normalizer") && parts["normalizer"].is_object()) steps.push_back(parts["normalizer"]);
  parts["normalizer"] = Json{{"type", "Sequence"}, {"normalizers", steps}};
  checkpoint.tokenizer = parts.dump(-1, ' ', false, Json::error_handler_t::replace);
  return {};
}

}  // namespace

Status read_sentence_steps(const fs::path& folder, const fs::path& model, Checkpoint& checkpoint) {
  POM_TRY(read_limits(model, checkpoint));
  std::string text = POM_TRY(text_of(folder / "modules.json"));
  if (text.empty()) return {};
  Json modules = Json::parse(text, nullptr, false);
  POM_REQUIRE(modules.is_array(), "modules.json is no JSON array");
  for (const Json& module : modules) POM_TRY(add_step(module, folder, checkpoint));
  return {};
}

}  // namespace pomona::llm
