#include "api/verify_language_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "api/files.h"
#include "llm/session.h"

namespace pomona::api {
namespace {

constexpr std::int64_t most_steps = 8;  // single tokens after the prompt

// Tokens that differ from run to run of the loop, not from run to run of the program.
class SeededTokens {
 public:
  explicit SeededTokens(std::int64_t vocabulary, std::uint64_t seed = 0)
      : vocabulary_(std::uint64_t(vocabulary)), state_(seed << 32) {}
  int next() {
    std::uint64_t z = state_ += 0x9E3779B97F4A7C15;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
    z = (z ^ z >> 27) * 0x94D049BB133111EB;
    return int((z ^ z >> 31) % vocabulary_);
  }
  std::vector<int> next(std::int64_t count) {
    std::vector<int> tokens(static_cast<std::size_t>(count));
    for (int& token : tokens) token = next();
    return tokens;
  }

 private:
  std::uint64_t vocabulary_, state_;
};

llm::BuildOptions reference_options(const llm::BuildOptions& package) {
  llm::BuildOptions options = package;
  options.target = Target::iOS18;
  options.engine = llm::Engine::gpu;
  options.cache = llm::Cache::state;
  options.dtype = DType::fp32;
  options.in_memory = options.keep_quantised = true;
  options.split_head = 1;
  return options;
}

Tensor logits_of(const llm::Session& session) {
  const std::vector<float>& logits = session.logits();
  Tensor tensor(DType::fp32, {std::int64_t(logits.size())});
  std::copy(logits.begin(), logits.end(), tensor.mutable_view<float>().begin());
  return tensor;
}

Status compare_step(llm::Session& got, llm::Session& expected, const std::vector<int>& tokens,
                    const Tolerance& tolerance, VerifyReport& report) {
  POM_TRY_IN(expected.feed(tokens), "running the reference");
  POM_TRY_IN(got.feed(tokens), "running the model");
  std::string name = fmt::format("logits of token {}", got.text().size());
  return add_lines(report, {{name, logits_of(got)}}, {{name, logits_of(expected)}}, tolerance);
}

Result<VerifyReport> verify_decoders(const LanguageModelPair& pair) {
  Stopwatch watch;
  VerifyReport report;
  llm::Session got = POM_TRY(llm::Session::open(pair.got)), expected = POM_TRY(llm::Session::open(pair.expected));
  POM_REQUIRE(got.model().vocabulary == expected.model().vocabulary,
              "the model has a vocabulary of {} tokens, the reference one of {}", got.model().vocabulary,
              expected.model().vocabulary);
  // Near ties of logits are decided by rounding; with a few rows only, one of them would be a tenth of all.
  Tolerance tolerance = pair.tolerance;
  tolerance.min_equal = 0;
  SeededTokens tokens(got.model().vocabulary, pair.seed);
  // A full call and so much of another that it is worth padding: the rows behind the text must not be seen.
  std::int64_t context = std::min(got.model().context, expected.model().context), batch = got.model().prefill;
  std::int64_t prompt = std::min(batch + batch / 8 + 3, context - 1);
  if (got.model().cache == llm::Cache::none) prompt = std::min<std::int64_t>(16, context - 1);
  POM_TRY(compare_step(got, expected, tokens.next(std::max<std::int64_t>(1, prompt)), tolerance, report));
  for (std::int64_t i = 0; i < most_steps && got.room() > 0 && expected.room() > 0; ++i) {
    if (i && watch.seconds() > pair.seconds) {
      report.note = fmt::format("after {:.0f} s there were {} single tokens", watch.seconds(), i);
      break;
    }
    POM_TRY(compare_step(got, expected, tokens.next(1), tolerance, report));
  }
  return report;
}

Result<VerifyReport> verify_encoder(const LanguageModelCheck& check, const Program& written, const Program& memory) {
  VerifyReport report;
  const Function &got = written.main(), &expected = memory.main();
  Dim size = got.body.input("input_ids").shape()[1];
  constexpr std::int64_t usual = 24;
  std::int64_t count = size.known() ? size.value() : usual, valid = std::max<std::int64_t>(1, count - 5);
  auto embedding = check.checkpoint->tensors.begin();
  for (auto at = embedding; at != check.checkpoint->tensors.end(); ++at)
    if (at->first.ends_with("word_embeddings.weight")) embedding = at;
  SeededTokens tokens(embedding->second.sizes.at(0));
  std::vector<int> marks(static_cast<std::size_t>(count), 0);
  std::fill(marks.begin(), marks.begin() + valid, 1);
  auto row = [&](const std::vector<int>& v) { return Tensor::ints(Ints(v.begin(), v.end())).reshaped({1, count}); };
  NamedTensors inputs{{"input_ids", row(tokens.next(count))}, {"attention_mask", row(marks)}};
  if (got.body.input("token_type_ids"))
    inputs["token_type_ids"] = row(std::vector<int>(static_cast<std::size_t>(count), 0));
  auto run = [&](const Function& function) -> Result<NamedTensors> {
    cpu::Runner runner(function, {});
    Tensors results = POM_TRY(runner.run(inputs));
    NamedTensors named;
    for (std::size_t i = 0; i < results.size(); ++i)
      named[function.body.results()[i].name()] = results[i].converted(DType::fp32);
    return named;
  };
  POM_TRY(add_lines(report, POM_TRY(run(got)), POM_TRY(run(expected)), check.tolerance));
  return report;
}

}  // namespace

Result<VerifyReport> verify_language_model(const LanguageModelCheck& check) {
  Stopwatch watch;
  Model written = POM_TRY_IN(open_model(check.package), "reading back what was written");
  Program memory = POM_TRY_IN(llm::build_program(*check.checkpoint, reference_options(check.build)), "the reference");
  bool decoder = llm::is_language_model(written.program);
  VerifyReport report = POM_TRY(decoder ? verify_decoders({written.program, memory, check.tolerance, 0, check.seconds})
                                        : verify_encoder(check, written.program, memory));
  report.reference = "the checkpoint in memory, with fp32 activations, on seeded tokens";
  report.seconds = watch.seconds();
  return report;
}

bool are_forms_of_a_language_model(const Program& a, const Program& b) {
  if (!llm::is_language_model(a) || !llm::is_language_model(b)) return false;
  auto inputs = [](const Program& program) {
    std::set<std::string> names;
    for (const Feature& feature : program.main().inputs) names.insert(feature.name);
    return names;
  };
  return inputs(a) != inputs(b);
}

Result<VerifyReport> verify_language_models(const LanguageModelPair& pair) { return verify_decoders(pair); }

}  // namespace pomona::api
