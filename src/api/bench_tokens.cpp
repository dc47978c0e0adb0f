#include "api/bench_tokens.h"

#include <algorithm>

#include "api/files.h"
#include "llm/language_model.h"

namespace pomona::api {
namespace {

// A function and what it has been fed.
class Feeder {
 public:
  Feeder(const Function& function, std::int64_t vocabulary, std::int64_t several)
      : function_(function), runner(function, {}), vocabulary_(vocabulary) {
    Value ids = function.body.input("input_ids");
    Dim tokens = ids && ids.rank() == 2 ? ids.shape()[1] : Dim(1);
    tokens_ = tokens.known() ? tokens.value() : several;
  }
  std::int64_t tokens() const { return tokens_; }

  Status feed(std::int64_t position, std::int64_t count) {
    NamedTensors inputs;
    for (std::size_t i = 0; i < function_.body.input_count(); ++i) {
      Value input = function_.body.input(i);
      if (input.type().kind == Type::Kind::state) continue;
      if (input.name() == "input_ids") {
        Ints ids;
        for (std::int64_t t = 0; t < count; ++t) ids.push_back((position + t) * 7919 % vocabulary_);
        inputs[input.name()] = Tensor::ints(ids).reshaped({1, count});
      } else if (input.name() == "position") {
        inputs[input.name()] = Tensor::ints({position});
      } else if (input.name() == "last") {
        inputs[input.name()] = Tensor::ints({count - 1});
      } else {
        POM_REQUIRE(all_known(input.shape()), "input '{}' is {}, whose size nothing says", input.name(),
                    input.type().text());
        inputs[input.name()] = Tensor(input.dtype(), known_sizes(input.shape()));
      }
    }
    POM_TRY(runner.run(inputs));
    return {};
  }

 private:
  const Function& function_;

 public:
  cpu::Runner runner;

 private:
  std::int64_t vocabulary_, tokens_ = 1;
};

const Function* function_named(const Program& program, std::string_view name) {
  for (const auto& function : program.functions)
    if (function->name == name) return function.get();
  return nullptr;
}

}  // namespace

Result<TokenRates> token_rates(const Program& program, const TokenRateOptions& options) {
  llm::LanguageModel model = POM_TRY(llm::language_model_of(program));
  const Function *prefill = function_named(program, "prefill"), *decode = function_named(program, "decode");
  if (!decode) decode = function_named(program, "main");
  if (!prefill && model.in_memory) prefill = decode;
  POM_REQUIRE(decode, "the model has no function 'decode' or 'main'");
  TokenRates rates;
  std::int64_t most = std::max<std::int64_t>(model.context - 1, 1);
  rates.decode_tokens = std::min(options.decode, most);
  Stopwatch first;
  Feeder decoder(*decode, model.vocabulary, 1);
  POM_TRY(decoder.feed(0, decoder.tokens()));
  rates.first = first.seconds();
  if (prefill) {
    Feeder reader(*prefill, model.vocabulary, std::min(model.prefill, options.prompt));
    std::int64_t calls = std::max<std::int64_t>(std::min(options.prompt, most) / reader.tokens(), 1);
    POM_TRY(reader.feed(0, reader.tokens()));
    Stopwatch watch;
    for (std::int64_t call = 0; call < calls; ++call) POM_TRY(reader.feed(call * reader.tokens(), reader.tokens()));
    rates.prompt_tokens = calls * reader.tokens();
    rates.prompt = double(rates.prompt_tokens) / watch.seconds();
    rates.working_bytes = reader.runner.arena_bytes();
  }
  decoder.runner.set_profiling(options.profile);
  Stopwatch watch;
  for (std::int64_t t = 0; t < rates.decode_tokens; ++t) POM_TRY(decoder.feed(t, decoder.tokens()));
  rates.decode = double(rates.decode_tokens) / watch.seconds();
  rates.profile = decoder.runner.profile();
  rates.working_bytes = std::max(rates.working_bytes, decoder.runner.arena_bytes());
  return rates;
}

}  // namespace pomona::api
