#include "llm/caller.h"

#include <algorithm>
#include <cstring>

namespace pomona::llm {
namespace {

const Tensor* result_named(const Function& function, const Tensors& results, const std::string& name) {
  for (std::size_t i = 0; i < results.size(); ++i)
    if (function.body.results()[i].name() == name) return &results[i];
  return nullptr;
}

}  // namespace

Result<Caller> Caller::open(const Program& program, const cpu::RunOptions& options) {
  Caller caller;
  caller.model_ = POM_TRY(language_model_of(program));
  for (const auto& function : program.functions) {
    Value ids = function->body.input("input_ids");
    POM_REQUIRE(ids && ids.rank() == 2, "function '{}' has no input 'input_ids' of [1, tokens]", function->name);
    Dim tokens = ids.shape()[1];
    caller.entries_.push_back(
        {function.get(), std::make_unique<cpu::Runner>(*function, options), tokens.known() ? tokens.value() : 0});
  }
  // The smallest that is enough comes first.
  std::sort(caller.entries_.begin(), caller.entries_.end(),
            [](const Entry& a, const Entry& b) { return a.tokens < b.tokens; });
  const Function& first = *caller.entries_.at(0).function;
  for (const CacheLayout& cache : caller.model_.caches)
    for (const std::string& name : {cache.keys, cache.values}) {
      Value value = first.body.input(name);
      POM_REQUIRE(value && value.shape() == to_shape(cache.shape), "function '{}' has no cache '{}' of {}", first.name,
                  name, to_string(cache.shape));
      if (caller.model_.cache == Cache::io) caller.past_[name] = Tensor(value.dtype(), cache.shape);
    }
  return caller;
}

void Caller::reset() {
  position_ = 0;
  text_.clear();
  // What caches hold beyond the position is never looked at, but a rotating one is taken to hold what was before.
  for (Entry& entry : entries_) entry.runner->reset_states();
  holder_ = nullptr;
}

Caller::Entry& Caller::entry_for(std::int64_t tokens) {
  for (Entry& entry : entries_)
    if (entry.tokens == 0 || entry.tokens >= tokens) return entry;
  return entries_.back();
}

std::int64_t Caller::most_at_once() const {
  std::int64_t most = 1;
  for (const Entry& entry : entries_) {
    std::int64_t takes = entry.tokens ? entry.tokens : model_.prefill;
    // All rows of a call need places, those beyond the text, too.
    bool fits = entry.tokens == 0 || position_ + entry.tokens <= model_.context;
    if (fits) most = std::max(most, takes);
  }
  return most;
}

Result<Tensor> Caller::feed(std::span<const std::int64_t> tokens) {
  POM_REQUIRE(!tokens.empty(), "there is no token to go on from");
  POM_REQUIRE(position_ + std::int64_t(tokens.size()) <= model_.context,
              "the text has {} tokens, and the context is {}", position_ + std::int64_t(tokens.size()), model_.context);
  for (std::int64_t token : tokens)
    POM_REQUIRE(token >= 0 && token < model_.vocabulary, "there is no token {}: the vocabulary has {}", token,
                model_.vocabulary);
  std::vector<Tensor> parts;
  while (!tokens.empty()) {
    bool all = model_.cache == Cache::none;
    std::size_t count = all ? tokens.size() : std::min(tokens.size(), std::size_t(most_at_once()));
    Tensor logits = POM_TRY(step(tokens.first(count)));
    tokens = tokens.subspan(count);
    if (!model_.all_logits) parts.clear();
    parts.push_back(std::move(logits));
  }
  if (!model_.all_logits) return parts[0].reshaped({model_.vocabulary});
  std::int64_t rows = 0;
  for (const Tensor& part : parts) rows += part.sizes()[0];
  Tensor together(DType::fp32, {rows, model_.vocabulary});
  std::uint8_t* to = together.mutable_data();
  for (const Tensor& part : parts) {
    std::memcpy(to, part.data(), part.size_bytes());
    to += part.size_bytes();
  }
  return together;
}

Result<Tensor> Caller::step(std::span<const std::int64_t> tokens) {
  bool whole = model_.cache == Cache::none;
  if (whole) text_.insert(text_.end(), tokens.begin(), tokens.end());
  std::vector<std::int64_t> ids = whole ? text_ : std::vector<std::int64_t>(tokens.begin(), tokens.end());
  std::int64_t valid = std::int64_t(ids.size());
  Entry& entry = entry_for(valid);
  if (entry.tokens) ids.resize(std::size_t(entry.tokens), 0);
  std::int64_t rows = std::int64_t(ids.size());
  const Block& body = entry.function->body;
  NamedTensors inputs{{"input_ids", Tensor::ints(ids).reshaped({1, rows})}};
  if (body.input("position")) inputs["position"] = Tensor::ints({position_});
  if (body.input("last")) inputs["last"] = Tensor::ints({valid - 1});
  if (model_.cache == Cache::io) inputs.insert(past_.begin(), past_.end());
  take_states(entry);
  Tensors results = POM_TRY(entry.runner->run(inputs));
  const Tensor* logits = result_named(*entry.function, results, "logits");
  POM_REQUIRE(logits, "function '{}' has no output 'logits'", entry.function->name);
  if (model_.cache == Cache::io)
    for (const CacheLayout& cache : model_.caches) {
      const Tensor *keys = result_named(*entry.function, results, cache.new_keys),
                   *values = result_named(*entry.function, results, cache.new_values);
      POM_REQUIRE(keys && values, "function '{}' lacks the output '{}' or '{}'", entry.function->name, cache.new_keys,
                  cache.new_values);
      inputs.clear();  // so that the caches are no longer shared, and written in place
      put(cache, cache.keys, *keys, valid);
      put(cache, cache.values, *values, valid);
    }
  position_ += std::int64_t(tokens.size());
  Tensor numbers = logits->converted(DType::fp32);
  if (!model_.all_logits) return numbers;
  // Rows beyond the text say nothing; without a cache those before have been given already.
  std::int64_t wanted = std::int64_t(tokens.size()), from = valid - wanted;
  Tensor part(DType::fp32, {wanted, model_.vocabulary});
  std::memcpy(part.mutable_data(), numbers.data() + std::size_t(from * model_.vocabulary) * sizeof(float),
              part.size_bytes());
  return part;
}

// Functions have runners of their own, and one set of states between them.
void Caller::take_states(Entry& entry) {
  if (model_.cache != Cache::state || holder_ == &entry) return;
  for (const CacheLayout& cache : model_.caches)
    for (const std::string& name : {cache.keys, cache.values})
      if (holder_) std::swap(entry.runner->state(name), holder_->runner->state(name));
  holder_ = &entry;
}

void Caller::put(const CacheLayout& cache, const std::string& name, const Tensor& rows, std::int64_t count) {
  Tensor& past = past_[name];
  std::size_t row = std::size_t(cache.shape[3]) * element_size_bytes(past.dtype());
  std::uint8_t* to = past.mutable_data();
  for (std::int64_t head = 0; head < cache.shape[1]; ++head)
    for (std::int64_t t = 0; t < count; ++t) {
      std::int64_t place = (position_ + t) % cache.places;
      std::memcpy(to + std::size_t(head * cache.places + place) * row,
                  rows.data() + std::size_t(head * rows.sizes()[2] + t) * row, row);
    }
}

}  // namespace pomona::llm
