#include "llm/session.h"

#include <algorithm>
#include <cstring>

#include "base/bytes.h"
#include "formats/npy/npy.h"

namespace pomona::llm {
namespace {

std::size_t largest_power_below(std::size_t count) {
  std::size_t power = 1;
  while (power * 2 <= count) power *= 2;
  return power;
}

std::vector<float> floats_of(const Tensor& tensor) {
  Tensor wide = tensor.dtype() == DType::fp32 ? tensor : tensor.converted(DType::fp32);
  auto view = wide.view<float>();
  return {view.begin(), view.end()};
}

}  // namespace

// The program's functions with what each takes.
struct Session::Machine {
  struct Call {
    const Function* function;
    std::unique_ptr<cpu::Runner> runner;
    std::int64_t fixed = 0;  // tokens it takes; 0: any number up to `most`
    std::size_t most = 1;
    bool position = false, last = false;
    std::vector<std::string> results;
  };

  LanguageModel model;
  std::vector<Call> calls;  // those that take fewer tokens first

  std::size_t most() const { return calls.back().most; }

  Status add(const Function& function) {
    Call call{.function = &function, .runner = std::make_unique<cpu::Runner>(function, cpu::RunOptions{})};
    Value ids = function.body.input("input_ids");
    POM_REQUIRE(ids && ids.rank() == 2, "function '{}' has no input 'input_ids' of rank 2", function.name);
    if (ids.shape()[1].known()) call.fixed = ids.shape()[1].value();
    call.most = std::size_t(call.fixed ? call.fixed : model.cache == Cache::none ? model.context : model.prefill);
    call.position = bool(function.body.input("position"));
    call.last = bool(function.body.input("last"));
    for (Value result : function.body.results()) call.results.push_back(result.name());
    calls.push_back(std::move(call));
    return {};
  }

  // The call for what is left of a text, and how many tokens it is given, padding included.
  std::pair<Call*, std::size_t> next(std::size_t left, std::size_t room) {
    Call& large = calls.back();
    if (large.fixed == 0) {
      if (model.cache == Cache::none) return {&large, left};
      // Each number of tokens is a plan of its own: few numbers, many tokens.
      std::size_t count = std::min(left, large.most);
      std::size_t padded = largest_power_below(count);
      if (padded < count) padded *= 2;
      return {&large, std::min({padded, large.most, room})};
    }
    // A batch costs much less than its tokens one by one, but more than a few of them.
    bool worth = left * 8 >= large.most || calls.size() == 1;
    if (worth && (large.most <= room || calls.size() == 1)) return {&large, large.most};
    return {&calls.front(), calls.front().most};
  }

  Status exchange_states(Call& call, Past& past) {
    if (model.cache == Cache::state)
      for (const CacheLayout& c : model.caches)
        for (const std::string& name : {c.keys, c.values}) std::swap(call.runner->state(name), past.caches[name]);
    return {};
  }

  // New rows of keys or values at their places.
  static void put(const CacheLayout& c, Tensor& cache, const Tensor& rows, std::size_t position, std::size_t count) {
    std::size_t row = std::size_t(c.shape[3]) * element_size_bytes(cache.dtype());
    std::uint8_t* to = cache.mutable_data();
    for (std::int64_t head = 0; head < c.shape[1]; ++head)
      for (std::size_t t = 0; t < count; ++t) {
        std::size_t place = position + t;
        if (c.rotating) place %= std::size_t(c.places);
        std::memcpy(to + (std::size_t(head * c.places) + place) * row,
                    rows.data() + (std::size_t(head * rows.sizes()[2]) + t) * row, row);
      }
  }

  void prepare(Past& past) const {
    if (model.cache == Cache::none || !past.caches.empty()) return;
    for (const CacheLayout& c : model.caches)
      for (const std::string& name : {c.keys, c.values}) {
        past.caches[name] = Tensor(calls[0].function->body.input(name).dtype(), c.shape);
      }
  }
};

Session::Session(std::unique_ptr<Machine> machine) : machine_(std::move(machine)) {}
Session::~Session() = default;
Session::Session(Session&&) noexcept = default;
const LanguageModel& Session::model() const { return machine_->model; }

Result<Session> Session::open(const Program& program) {
  auto machine = std::make_unique<Machine>();
  machine->model = POM_TRY(language_model_of(program));
  for (const auto& function : program.functions) POM_TRY(machine->add(*function));
  POM_REQUIRE(!machine->calls.empty(), "the program has no functions");
  const Function& first = *machine->calls[0].function;
  for (const CacheLayout& cache : machine->model.caches)
    for (const std::string& name : {cache.keys, cache.values}) {
      Value value = first.body.input(name);
      POM_REQUIRE(value && value.shape() == to_shape(cache.shape), "function '{}' has no cache '{}' of {}", first.name,
                  name, to_string(cache.shape));
    }
  std::stable_sort(machine->calls.begin(), machine->calls.end(),
                   [](const auto& a, const auto& b) { return a.most < b.most; });
  return Session(std::move(machine));
}

std::size_t Session::room() const {
  std::size_t context = std::size_t(model().context);
  return past_.text.size() < context ? context - past_.text.size() : 0;
}

// Runs one call on as many of `ids` as it takes.
Status Session::step(std::span<const int> ids, std::vector<float>* all) {
  Machine& m = *machine_;
  bool none = m.model.cache == Cache::none;
  std::size_t position = none ? 0 : past_.text.size();
  std::vector<std::int64_t> given;
  if (none) given.assign(past_.text.begin(), past_.text.end());
  auto [call, padded] = m.next(ids.size() + given.size(), std::size_t(m.model.context) - position);
  // Each place's logits, from a function that gives the last one's only: a token at a time.
  bool single = all && !m.model.all_logits;
  std::size_t count = std::min(ids.size(), none ? ids.size() : padded);
  if (single) {
    count = 1;
    if (!none) std::tie(call, padded) = m.next(1, std::size_t(m.model.context) - position);
    if (none) padded = given.size() + 1;
  }
  given.insert(given.end(), ids.begin(), ids.begin() + std::ptrdiff_t(count));
  std::size_t valid = given.size();
  given.resize(call->fixed ? std::size_t(call->fixed) : std::max(padded, valid), given.back());

  NamedTensors inputs{{"input_ids", Tensor::ints(given).reshaped({1, std::int64_t(given.size())})}};
  if (call->position) inputs["position"] = Tensor::ints({std::int64_t(position)});
  if (call->last) inputs["last"] = Tensor::ints({std::int64_t(valid) - 1});
  m.prepare(past_);
  if (m.model.cache == Cache::io) inputs.insert(past_.caches.begin(), past_.caches.end());
  POM_TRY(m.exchange_states(*call, past_));
  auto results = call->runner->run(inputs);
  POM_TRY(m.exchange_states(*call, past_));
  if (!results) return std::move(results).error();
  inputs.clear();  // the caches are written in place when nobody else holds them

  const Tensor* logits = nullptr;
  for (std::size_t i = 0; i < results->size(); ++i) {
    if (call->results[i] == "logits") logits = &(*results)[i];
    if (m.model.cache != Cache::io) continue;
    for (const CacheLayout& c : m.model.caches) {
      if (call->results[i] == c.new_keys) Machine::put(c, past_.caches[c.keys], (*results)[i], position, valid);
      if (call->results[i] == c.new_values) Machine::put(c, past_.caches[c.values], (*results)[i], position, valid);
    }
  }
  POM_REQUIRE(logits, "function '{}' has no output 'logits'", call->function->name);
  std::vector<float> rows = floats_of(*logits);
  std::size_t width = std::size_t(m.model.vocabulary), have = rows.size() / width;
  POM_REQUIRE(have >= 1 && rows.size() == have * width, "the logits are {}, and the vocabulary has {} tokens",
              to_string(logits->sizes()), width);
  std::size_t end = have == 1 ? 1 : valid;  // rows of padding come behind
  if (all)
    all->insert(all->end(), rows.begin() + std::ptrdiff_t((end - std::min(end, count)) * width),
                rows.begin() + std::ptrdiff_t(end * width));
  past_.logits.assign(rows.begin() + std::ptrdiff_t((end - 1) * width), rows.begin() + std::ptrdiff_t(end * width));
  past_.text.insert(past_.text.end(), ids.begin(), ids.begin() + std::ptrdiff_t(count));
  past_.written = std::max(past_.written, std::int64_t(position + given.size()));
  return {};
}

Status Session::feed_to(std::span<const int> ids, std::vector<float>* all) {
  POM_REQUIRE(ids.size() <= room(), "the text has {} tokens, and the model's context is {}",
              past_.text.size() + ids.size(), model().context);
  for (int id : ids)
    POM_REQUIRE(id >= 0 && id < model().vocabulary, "there is no token {}: the vocabulary has {}", id,
                model().vocabulary);
  while (!ids.empty()) {
    std::size_t before = past_.text.size();
    POM_TRY(step(ids, all));
    ids = ids.subspan(past_.text.size() - before);
  }
  return {};
}

Status Session::feed(std::span<const int> ids) { return feed_to(ids, nullptr); }

Result<std::vector<float>> Session::feed_all(std::span<const int> ids) {
  std::vector<float> all;
  all.reserve(std::min(ids.size(), room()) * std::size_t(model().vocabulary));
  POM_TRY(feed_to(ids, &all));
  return all;
}

void Session::rewind(std::size_t count) {
  if (count >= past_.text.size()) return;
  // A cache that has come round holds the last places only.
  for (const CacheLayout& c : model().caches)
    if (c.rotating && past_.written > c.places && past_.written >= std::int64_t(count) + model().prefill) count = 0;
  past_.text.resize(count);
  if (count == 0) past_.written = 0;
}

Status Session::become(std::span<const int> ids) {
  const std::vector<int>& have = past_.text;
  std::size_t common = 0;
  while (common < have.size() && common < ids.size() && have[common] == ids[common]) ++common;
  // The last token is fed again, for its logits.
  if (common == ids.size() && common < have.size() && common > 0) --common;
  rewind(common);
  return feed(ids.subspan(past_.text.size()));
}

Status Session::save(const std::string& path) const {
  NamedTensors all = past_.caches;
  std::vector<std::int64_t> ids(past_.text.begin(), past_.text.end());
  all["text"] = Tensor::ints(ids);
  all["written"] = Tensor::ints({past_.written});
  std::vector<double> logits(past_.logits.begin(), past_.logits.end());
  all["logits"] = Tensor::from_numbers(DType::fp32, {std::int64_t(logits.size())}, logits);
  return npy::write_npz(path, all);
}

Status Session::load(const std::string& path) {
  NamedTensors all = POM_TRY_IN(npy::read_npz(POM_TRY(map_file(path))), "file '{}'", path);
  for (const char* name : {"text", "written", "logits"})
    POM_REQUIRE(all.contains(name), "'{}' is no saved prompt: it has no '{}'", path, name);
  Past fresh;
  machine_->prepare(fresh);
  for (auto& [name, cache] : fresh.caches) {
    auto at = all.find(name);
    POM_REQUIRE(at != all.end() && at->second.sizes() == cache.sizes() && at->second.dtype() == cache.dtype(),
                "'{}' was saved by another model: its '{}' differs", path, name);
    cache = at->second;
  }
  for (std::int64_t id : all["text"].integers()) {
    POM_REQUIRE(id >= 0 && id < model().vocabulary, "'{}' was saved by another model: it has a token {}", path, id);
    fresh.text.push_back(int(id));
  }
  POM_REQUIRE(fresh.text.size() <= std::size_t(model().context), "'{}' was saved by another model", path);
  fresh.written = all["written"].integers().empty() ? 0 : all["written"].integers()[0];
  fresh.logits = floats_of(all["logits"]);
  past_ = std::move(fresh);
  return {};
}

}  // namespace pomona::llm
