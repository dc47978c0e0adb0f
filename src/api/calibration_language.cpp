#include <algorithm>

#include "api/calibration.h"
#include "llm/language_model.h"
#include "llm/tokenizer.h"

namespace pomona::api {
namespace {

constexpr std::size_t most_tokens = 512;

struct Widest {
  Function* function = nullptr;
  std::size_t tokens = 0;
};

// Tokens that a function takes at once; 0 where that is open or there are none.
std::size_t tokens_of(const Function& function) {
  Value ids = function.body.input("input_ids");
  return ids && ids.rank() == 2 && ids.shape()[1].known() ? std::size_t(ids.shape()[1].value()) : 0;
}

Widest widest(Program& program) {
  Widest found;
  for (const auto& function : program.functions)
    if (std::size_t tokens = tokens_of(*function); tokens > found.tokens) found = {function.get(), tokens};
  return found;
}

// One call: `ids` from `position` on, filled up with the last one.
NamedTensors call_of(const Widest& call, std::span<const int> ids, std::size_t position) {
  std::vector<std::int64_t> given(ids.begin(), ids.end());
  given.resize(call.tokens, given.back());
  NamedTensors inputs{{"input_ids", Tensor::ints(given).reshaped({1, std::int64_t(call.tokens)})}};
  const Block& body = call.function->body;
  if (body.input("position")) inputs["position"] = Tensor::ints({std::int64_t(position)});
  if (body.input("last")) inputs["last"] = Tensor::ints({std::int64_t(ids.size()) - 1});
  return inputs;
}

}  // namespace

std::vector<std::size_t> spread_pieces(std::size_t tokens, std::size_t piece, std::size_t count) {
  std::size_t pieces = std::max<std::size_t>(1, tokens / piece), wanted = std::min(pieces, count);
  std::vector<std::size_t> begins;
  for (std::size_t i = 0; i < wanted; ++i) begins.push_back(i * pieces / wanted * piece);
  return begins;
}

Result<LanguageSamples> language_samples(const SampleChoice& choice, Program& program) {
  llm::LanguageModel model = POM_TRY(llm::language_model_of(program));
  std::string json = model.tokenizer;
  if (!choice.tokenizer.empty()) json = POM_TRY(llm::tokenizer_json_of(choice.tokenizer));
  POM_REQUIRE(!json.empty(), "the model has no tokenizer: --tokenizer names one");
  auto tokenizer = POM_TRY_IN(llm::Tokenizer::from_json(json), "tokenizer");
  Widest call = widest(program);
  POM_REQUIRE(call.function, "no function of the model takes a known number of tokens");

  Bytes bytes = POM_TRY(map_file(choice.place));
  std::vector<int> ids = POM_TRY(tokenizer->encode(bytes.text()));
  // Pieces of whole calls. Where caches are inputs, nothing comes before a call.
  bool states = model.cache == llm::Cache::state;
  std::size_t calls =
      states ? std::max<std::size_t>(1, std::min(most_tokens, std::size_t(model.context)) / call.tokens) : 1;
  std::size_t piece = calls * call.tokens;
  POM_REQUIRE(!ids.empty(), "the text is empty");
  LanguageSamples samples{call.function, {}, {}};
  for (std::size_t first : spread_pieces(ids.size(), piece, std::size_t(choice.count))) {
    std::size_t end = std::min(ids.size(), first + piece);
    for (std::size_t at = first; at < end; at += call.tokens) {
      NamedTensors inputs = call_of(call, std::span(ids).subspan(at, std::min(call.tokens, end - at)), at - first);
      if (model.cache == llm::Cache::io)
        for (const llm::CacheLayout& cache : model.caches)
          for (const std::string& name : {cache.keys, cache.values})
            inputs[name] = Tensor(call.function->body.input(name).dtype(), cache.shape);
      samples.inputs.push_back(std::move(inputs));
      samples.continues.push_back(at > first);
    }
  }
  return samples;
}

}  // namespace pomona::api
