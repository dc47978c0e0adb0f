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

}  // namespace pomona::api
