// Sentence encoders as the server uses them: texts to vectors of length 1.
//
//   auto embedder = POM_TRY(Embedder::open("all-MiniLM-L6-v2"));
//   Embedding e = POM_TRY(embedder->embed("ripe apples"));
//
// What the model itself pools is taken; else the mean of its last hidden states. Calls wait for each other.
#pragma once
#include <memory>
#include <mutex>

#include "api/model.h"
#include "cpu/runner.h"
#include "llm/tokenizer.h"

namespace pomona::server {

struct Embedding {
  std::vector<float> values;
  std::size_t tokens = 0;
};

class Embedder {
 public:
  static Result<std::unique_ptr<Embedder>> open(api::Model model);
  Result<Embedding> embed(const std::string& text);

 private:
  explicit Embedder(api::Model model) : model_(std::move(model)) {}
  api::Model model_;
  const Function* function_ = nullptr;
  std::shared_ptr<const llm::Tokenizer> tokenizer_;
  std::unique_ptr<cpu::Runner> runner_;
  std::mutex mutex_;
};

}  // namespace pomona::server
