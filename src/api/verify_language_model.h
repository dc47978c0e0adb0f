// What the conversion of a checkpoint is checked by: the written package, read back and called as generation calls it
// on seeded tokens, against the same model in memory, with fp32 activations and weights as the source has them.
//
//   VerifyReport report = POM_TRY(verify_language_model({package, &checkpoint, build_options, half_tolerance, 60}));
//
// A prompt of several calls of prefill, then single tokens, as many as the time allows; at least one of each.
#pragma once
#include "api/verify.h"
#include "llm/language_model.h"

namespace pomona::api {

struct LanguageModelCheck {
  std::string package;
  const llm::Checkpoint* checkpoint = nullptr;
  llm::BuildOptions build;  // what the package was built with
  Tolerance tolerance;
  double seconds = 60;
};
Result<VerifyReport> verify_language_model(const LanguageModelCheck& check);

// Two language models of any forms, which take different inputs, called as generation calls them.
struct LanguageModelPair {
  const Program &got, &expected;
  Tolerance tolerance;
  std::uint64_t seed = 0;
  double seconds = 60;
};
Result<VerifyReport> verify_language_models(const LanguageModelPair& pair);
// Whether both are decoders, and one takes other inputs than the other: a checkpoint and a package, or packages with
// caches of two kinds.
bool are_forms_of_a_language_model(const Program& a, const Program& b);

}  // namespace pomona::api
