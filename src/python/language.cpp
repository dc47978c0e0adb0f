// Tokenizers, and language models that write token by token.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <mutex>
#include <nlohmann/json.hpp>

#include "api/chat.h"
#include "api/files.h"
#include "python/calls.h"
#include "python/model.h"
#include "python/options.h"

namespace pomona::python {
namespace nb = nanobind;
namespace {

using SharedTokenizer = std::shared_ptr<const llm::Tokenizer>;
using Ids = std::vector<int>;

struct Tokenizer {
  SharedTokenizer own;
};

Tokenizer open_tokenizer(const std::string& path) {
  return {without_gil([&]() -> Result<SharedTokenizer> {
    std::string json = POM_TRY(llm::tokenizer_json_of(path));
    return POM_TRY_IN(llm::Tokenizer::from_json(json), "tokenizer '{}'", path);
  })};
}

Ids encode(const Tokenizer& tokenizer, const std::string& text, bool special, bool plain) {
  return without_gil([&] { return tokenizer.own->encode(text, {.special = special, .parse_special = !plain}); });
}

void check_ids(const llm::Tokenizer& tokenizer, const Ids& ids) {
  for (int id : ids)
    if (id < 0 || std::size_t(id) >= tokenizer.size())
      throw_error(fail("the id {} is none of the tokenizer's {}", id, tokenizer.size()));
}

nb::str decode(const Tokenizer& tokenizer, const Ids& ids, bool skip_special) {
  check_ids(*tokenizer.own, ids);
  return text_of(tokenizer.own->decode(ids, skip_special));
}

nb::str token(const Tokenizer& tokenizer, int id) {
  check_ids(*tokenizer.own, {id});
  return text_of(tokenizer.own->token(id));
}

// What a text has seen, while another one is being written.
struct SetAside {
  llm::Past past;
  bool done = false;
};

// A language model and the one session that all texts written with it take turns in. What a finished text has seen
// stays there, for one that begins alike: the next turn of a conversation.
struct LanguageModel {
  api::Language language;
  llm::Session session;
  std::mutex mutex;
  std::weak_ptr<SetAside> owner;  // of what the session has seen
  LanguageModel(api::Language opened, llm::Session ready) : language(std::move(opened)), session(std::move(ready)) {}
};
using SharedLanguage = std::shared_ptr<LanguageModel>;

SharedLanguage open_language(const std::string& path, std::int64_t context) {
  return without_gil([&]() -> Result<SharedLanguage> {
    api::Language language = POM_TRY(api::open_language(path, {.context = context}));
    llm::Session session = POM_TRY(llm::Session::open(*language.program));
    return std::make_shared<LanguageModel>(std::move(language), std::move(session));
  });
}

nb::object tokenizer_of(const LanguageModel& model) {
  return model.language.tokenizer ? nb::cast(Tokenizer{model.language.tokenizer}) : nb::none();
}

Ids prompt(const LanguageModel& model, const std::string& text, const std::string& system, bool raw) {
  return value_or_throw(api::prompt_of(model.language, text, system, raw));
}

// Messages as JSON text, in and out: the oldest may have gone.
nb::tuple conversation(const LanguageModel& model, const std::string& messages, std::size_t kept,
                       const nb::dict& sampling) {
  auto json = nlohmann::ordered_json::parse(messages, nullptr, false);
  if (!json.is_array()) throw_error(fail("messages are a list of {{\"role\": ..., \"content\": ...}}"));
  auto flags = options_of<api::SamplingFlags>(sampling);
  Ids ids = value_or_throw(api::prompt_that_fits(model.language, json, kept, flags.max_tokens));
  return nb::make_tuple(nb::cast(ids), text_of(json.dump()));
}

// One text being written.
class Writer {
 public:
  Writer(SharedLanguage model, const Ids& prompt, const nb::dict& sampling)
      : model_(std::move(model)),
        answer_(
            value_or_throw(api::Answer::begin(model_->language, prompt, options_of<api::SamplingFlags>(sampling)))) {}

  // The next piece of text; none at the end.
  std::optional<nb::str> next() {
    std::string piece;
    while (piece.empty() && so_far().finish.empty()) without_gil([&] { return advance(piece); });
    if (piece.empty()) return {};
    return text_of(piece);
  }
  const api::Generation& so_far() const { return answer_.so_far(); }
  double prompt_seconds() const { return prompt_seconds_; }

 private:
  Result<bool> advance(std::string& piece) {
    std::lock_guard lock(model_->mutex);
    take_turn();
    if (!begun_) {
      api::Stopwatch watch;
      POM_TRY(model_->session.become(so_far().prompt));
      prompt_seconds_ = watch.seconds();
      begun_ = true;
    }
    auto more = answer_.advance(model_->session, [&](std::string_view part) {
      piece += part;
      return true;
    });
    own_->done = !more || !*more;
    return more;
  }

  void take_turn() {
    auto owner = model_->owner.lock();
    if (owner == own_) return;
    if (owner && !owner->done) model_->session.swap(owner->past);
    if (begun_) model_->session.swap(own_->past);
    model_->owner = own_;
  }

  SharedLanguage model_;
  api::Answer answer_;
  std::shared_ptr<SetAside> own_ = std::make_shared<SetAside>();
  bool begun_ = false;
  double prompt_seconds_ = 0;
};

}  // namespace

void bind_language(nb::module_& m) {
  nb::class_<Tokenizer>(m, "Tokenizer")
      .def("encode", encode, nb::arg("text"), nb::arg("special") = true, nb::arg("plain") = false)
      .def("decode", decode, nb::arg("ids"), nb::arg("skip_special") = true)
      .def("token", token, nb::arg("id"))
      .def(
          "id", [](const Tokenizer& t, const std::string& token) { return t.own->id_of(token); }, nb::arg("token"))
      .def(
          "is_special", [](const Tokenizer& t, int id) { return t.own->is_special(id); }, nb::arg("id"))
      .def("__len__", [](const Tokenizer& t) { return t.own->size(); });
  m.def("open_tokenizer", open_tokenizer, nb::arg("path"));
  nb::class_<LanguageModel>(m, "LanguageModel")
      .def_prop_ro("tokenizer", tokenizer_of)
      .def_prop_ro("context", [](const LanguageModel& model) { return model.language.model.context; })
      .def_prop_ro("chat_template", [](const LanguageModel& model) { return text_of(model.language.chat_template); })
      .def("prompt", prompt, nb::arg("text"), nb::arg("system") = "", nb::arg("raw") = false)
      .def("conversation", conversation, nb::arg("messages"), nb::arg("kept"), nb::arg("sampling"));
  m.def("open_language", open_language, nb::arg("path"), nb::arg("context") = 0);
  nb::class_<Writer>(m, "Writer")
      .def(nb::init<SharedLanguage, const Ids&, const nb::dict&>(), nb::arg("model"), nb::arg("prompt"),
           nb::arg("sampling"))
      .def("next", &Writer::next)
      .def_prop_ro("text", [](const Writer& w) { return text_of(w.so_far().text); })
      .def_prop_ro("prompt", [](const Writer& w) { return w.so_far().prompt; })
      .def_prop_ro("tokens", [](const Writer& w) { return w.so_far().ids; })
      .def_prop_ro("finish", [](const Writer& w) { return text_of(w.so_far().finish); })
      .def_prop_ro("prompt_seconds", &Writer::prompt_seconds)
      .def_prop_ro("decode_seconds", [](const Writer& w) { return w.so_far().decode_seconds; });
  m.def("sampling_options", described<api::SamplingFlags>);
}

}  // namespace pomona::python
