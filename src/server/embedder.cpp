#include "server/embedder.h"

#include <filesystem>

#include "api/run.h"
#include "api/text.h"
#include "llm/language_model.h"

namespace pomona::server {
namespace {

// The package's own, or what lies beside the weights.
Result<std::string> tokenizer_of(const api::Model& model) {
  if (std::string own = llm::tokenizer_in(model.program); !own.empty()) return own;
  std::filesystem::path path = model.path;
  std::error_code ignored;
  if (!std::filesystem::is_directory(path, ignored) || !llm::has_tokenizer(path.string())) path = path.parent_path();
  return llm::tokenizer_json_of(path.string());
}

}  // namespace

Result<std::unique_ptr<Embedder>> Embedder::open(api::Model model) {
  std::unique_ptr<Embedder> embedder(new Embedder(std::move(model)));
  Program& program = embedder->model_.program;
  embedder->function_ = POM_TRY(api::function_of(program, ""));
  std::string json = POM_TRY_IN(tokenizer_of(embedder->model_), "model '{}'", embedder->model_.path);
  embedder->tokenizer_ = POM_TRY(llm::Tokenizer::from_json(json));
  embedder->runner_ = std::make_unique<cpu::Runner>(*embedder->function_, cpu::RunOptions{});
  return embedder;
}

Result<Embedding> Embedder::embed(const std::string& text) {
  std::lock_guard lock(mutex_);
  NamedTensors given = POM_TRY(api::text_inputs(*tokenizer_, text, model_.program, *function_));
  NamedTensors found = POM_TRY(api::call(*runner_, model_.program, *function_, given));
  auto own = found.find("sentence_embedding");
  Tensor vector = own != found.end() ? own->second : POM_TRY(api::pooled("mean", found, given));
  Embedding result;
  for (std::size_t i = 0; i < vector.count(); ++i) result.values.push_back(float(vector.number(i)));
  auto mask = given.find("attention_mask");
  result.tokens = given.at("input_ids").count();
  for (std::size_t i = 0; mask != given.end() && i < mask->second.count(); ++i)
    if (mask->second.number(i) == 0) --result.tokens;
  return result;
}

}  // namespace pomona::server
