// Bodies of requests in the form of OpenAI's HTTP interface, as prompts and sampling flags.
//
//   Wanted wanted = POM_TRY(chat_request(language, json));        // errors name the field, for a 400
//
// Fields that would change the answer and that nothing here can honour (a form of the answer, a call that must be) are
// refused; those that change nothing (user, metadata, model) are let pass. Tools are the template's: what the model
// writes about them is text.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include "api/language.h"

namespace pomona::server {

struct Wanted {
  std::vector<std::vector<int>> prompts;  // of each `choices` answers
  std::int64_t choices = 1;
  api::SamplingFlags flags;
  bool stream = false, usage = false;  // usage: in the stream's last piece
  std::optional<std::size_t> chances;  // how many probable tokens beside each one
};
Result<Wanted> chat_request(const api::Language& language, const nlohmann::ordered_json& body);
Result<Wanted> completion_request(const api::Language& language, const nlohmann::ordered_json& body);
// The texts of an embeddings request.
Result<std::vector<std::string>> embedding_request(const nlohmann::ordered_json& body);

}  // namespace pomona::server
