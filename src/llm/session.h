// A text and the state a language model has after it: what generating, scoring and serving are made of.
//
//   Session session = POM_TRY(Session::open(program));            // one made by build_program, or read from a package
//   POM_TRY(session.feed(prompt));                                // in batches
//   for (int id; (id = largest(session.logits())) != end;) POM_TRY(session.feed({id}));
//   session.rewind(session.text().size() - 3);                    // the cache keeps what it can
//
// Whatever cache the program has (states, inputs and outputs, none, rotating ones of sliding windows), a session looks
// the same. One session serves one text at a time; several can share a program's plans and weights by taking their
// caches in turns (see swap).
#pragma once
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "cpu/runner.h"
#include "llm/language_model.h"

namespace pomona::llm {

// What the model has seen, apart from the machinery that computes it.
struct Past {
  std::vector<int> text;
  NamedTensors caches;
  std::int64_t written = 0;   // places in the caches that something was written to, padding included
  std::vector<float> logits;  // of the token after the text
};

class Session {
 public:
  // `program` must outlive it.
  static Result<Session> open(const Program& program);
  ~Session();
  Session(Session&&) noexcept;

  const LanguageModel& model() const;
  const std::vector<int>& text() const { return past_.text; }
  const std::vector<float>& logits() const { return past_.logits; }

  // Errors: the text grows longer than the model's context; an id that the vocabulary does not have.
  Status feed(std::span<const int> ids);
  Status feed(std::initializer_list<int> ids) { return feed(std::span(ids.begin(), ids.size())); }
  // The same, giving the logits after each of them: [ids, vocabulary].
  Result<std::vector<float>> feed_all(std::span<const int> ids);
  // Keeps the first `count` tokens at most, fewer when the caches no longer hold what is needed. logits() are those of
  // a later place until the next feed.
  void rewind(std::size_t count);
  // Rewinds to what both have in common and feeds the rest.
  Status become(std::span<const int> ids);
  std::size_t room() const;  // tokens that still fit

  // Exchanges what was seen with another session's of the same program.
  void swap(Past& past) { std::swap(past_, past); }
  // As .npz: tokens, caches, logits. Errors: a file of another model.
  Status save(const std::string& path) const;
  Status load(const std::string& path);

 private:
  struct Machine;
  explicit Session(std::unique_ptr<Machine> machine);
  Status feed_to(std::span<const int> ids, std::vector<float>* all);
  Status step(std::span<const int> ids, std::vector<float>* all);
  std::unique_ptr<Machine> machine_;
  Past past_;
};

}  // namespace pomona::llm
