// Language models as people have them, ready to be used: a package of ours, or a GGUF file or checkpoint folder, which
// is built in memory.
//
//   Language l = POM_TRY(open_language("SmolLM2-135M-Instruct.Q4_1.gguf", {}));
//   llm::Session session = POM_TRY(llm::Session::open(*l.program));
//   Generation g = POM_TRY(generate(l, session, prompt_ids, options, print));
#pragma once
#include <functional>
#include <memory>

#include "base/record.h"
#include "llm/sampling.h"
#include "llm/session.h"
#include "llm/tokenizer.h"

namespace pomona::api {

struct Model;  // api/model.h

struct LanguageOptions {
  bool all_logits = false;   // of every position at once, where the model is built here
  std::int64_t context = 0;  // 0: the model's own, at most 4096
};
struct Language {
  std::shared_ptr<const Program> program;
  llm::LanguageModel model;
  std::shared_ptr<const llm::Tokenizer> tokenizer;  // null when the model has none
  std::string chat_template;                        // empty when it has none
  std::string bos, eos;                             // as templates write them
  std::vector<int> ends;                            // ids that end an answer
  double load_seconds = 0;
};
Result<Language> open_language(const std::string& path, const LanguageOptions& options);
// The package at `path`, opened, so that it gives the logits of every token at once; one of another form than ours as
// it is, to be scored a token at a time.
Result<Model> with_all_logits(Model model, const std::string& path);

struct SamplingFlags {
  POM_OPTION(max_tokens, std::int64_t, "tokens to generate at most") = 256;
  POM_OPTION(temperature, double, "0: always the most probable token") = 0;
  POM_OPTION(top_k, int, "choose among so many tokens; 0: all") = 0;
  POM_OPTION(top_p, double, "choose among the fewest tokens with this probability together") = 1;
  POM_OPTION(min_p, double, "choose among tokens at least this probable relative to the most probable") = 0;
  POM_OPTION(repetition_penalty, double, "makes tokens of the text so far less probable; 1: none") = 1;
  POM_OPTION(presence_penalty, double, "the same for generated tokens, once") = 0;
  POM_OPTION(frequency_penalty, double, "the same, for each time") = 0;
  POM_OPTION(seed, std::int64_t, "of the draws") = 0;
  POM_OPTION(stop, Strings, "text that ends the answer; may be repeated");
  POM_OPTION(logit_bias, Strings, "ID=BIAS, added to that token's logit; may be repeated");
};
Result<llm::SamplingOptions> sampling_of(const SamplingFlags& flags);

// How probable a generated token was, as the logarithm, and which ones were most; of the model's own logits.
struct TokenChance {
  int id = 0;
  double logarithm = 0;
  std::vector<std::pair<int, double>> most;  // the most probable first
};

struct Generation {
  std::string text;
  std::vector<int> prompt, ids;
  std::string finish;  // "stop", "length" or "cancelled"
  std::size_t cached = 0;
  double prompt_seconds = 0, decode_seconds = 0;
  std::vector<TokenChance> chances;  // of the ids, when they are wanted
};
// `print` is given the text piece by piece and says whether to go on.
using Print = std::function<bool(std::string_view)>;

// One answer, token by token: for whoever serves several at once.
class Answer {
 public:
  static Result<Answer> begin(const Language& language, std::vector<int> prompt, const SamplingFlags& flags);
  // Chooses the next token from the session's logits and feeds it; the session must hold the text so far. False: done.
  Result<bool> advance(llm::Session& session, const Print& print);
  const Generation& so_far() const { return generation_; }
  // From now on chances are noted, with so many of the most probable tokens.
  void note_chances(std::size_t most) { noted_ = most; }

 private:
  Answer(const Language& language, llm::SamplingOptions options);
  bool emit(std::string_view piece, const Print& print);
  const Language* language_;
  llm::Sampler sampler_;
  llm::StreamDecoder stream_;
  std::vector<std::string> stops_;
  std::vector<int> text_;
  std::string held_;  // text that may become a stop string
  std::int64_t most_ = 0;
  std::optional<std::size_t> noted_;
  Generation generation_;
};

Result<Generation> generate(const Language& language, llm::Session& session, std::vector<int> prompt,
                            const SamplingFlags& flags, const Print& print);

}  // namespace pomona::api
