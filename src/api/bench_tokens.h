// How fast a language model reads a prompt and writes an answer here, in tokens per second.
//
//   TokenRates rates = POM_TRY(token_rates(program, {}));
//
// Its functions are called as generation calls them (llm/language_model.h), with tokens that mean nothing: the time
// does not depend on them. Where prefill and decode are functions of their own, each keeps a cache of its own.
#pragma once
#include "cpu/runner.h"
#include "ir/program.h"

namespace pomona::api {

struct TokenRates {
  std::int64_t prompt_tokens = 0, decode_tokens = 0;
  double prompt = 0, decode = 0;       // tokens per second; prompt: 0 without a function for several tokens
  double first = 0;                    // seconds to the first logits, planning included
  std::vector<cpu::StepTime> profile;  // of decoding, if asked for
  std::size_t working_bytes = 0;
};
struct TokenRateOptions {
  std::int64_t prompt = 512, decode = 64;  // tokens, as far as the context holds them
  bool profile = false;
};
Result<TokenRates> token_rates(const Program& program, const TokenRateOptions& options);

}  // namespace pomona::api
