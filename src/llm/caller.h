// Calls a language model's program as language_model.h says: which function for how many tokens, where the text has got
// to, and what becomes of the caches.
//
//   Caller caller = POM_TRY(Caller::open(program));
//   Tensor logits = POM_TRY(caller.feed(prompt_ids));       // fp32 [vocabulary], of what follows the last of them
//   logits = POM_TRY(caller.feed({id}));
//
// The program must stay. One text at a time; sampling, tokens and words are other people's business.
#pragma once
#include <memory>

#include "cpu/runner.h"
#include "llm/language_model.h"

namespace pomona::llm {

class Caller {
 public:
  static Result<Caller> open(const Program& program, const cpu::RunOptions& options = {});

  // Adds tokens to the text. Logits of the last one, [vocabulary]; with all_logits of each, [tokens, vocabulary].
  // Errors: the text would be longer than the context; a token that the vocabulary does not have.
  Result<Tensor> feed(std::span<const std::int64_t> tokens);
  // Tokens in the text, and the most there may be.
  std::int64_t position() const { return position_; }
  std::int64_t context() const { return model_.context; }
  // A new text.
  void reset();
  const LanguageModel& model() const { return model_; }

 private:
  struct Entry {
    const Function* function;
    std::unique_ptr<cpu::Runner> runner;
    std::int64_t tokens;  // 0: any number
  };
  Result<Tensor> step(std::span<const std::int64_t> tokens);
  Entry& entry_for(std::int64_t tokens);
  std::int64_t most_at_once() const;
  void take_states(Entry& entry);
  void put(const CacheLayout& cache, const std::string& name, const Tensor& rows, std::int64_t count);

  LanguageModel model_;
  std::vector<Entry> entries_;
  Entry* holder_ = nullptr;         // of the states
  NamedTensors past_;               // with Cache::io
  std::vector<std::int64_t> text_;  // with Cache::none
  std::int64_t position_ = 0;
};

}  // namespace pomona::llm
