// Texts as a model's inputs, and its hidden states as one vector per text: what a sentence encoder is for.
//
//   NamedTensors given = POM_TRY(text_inputs(tokenizer, "Good morning", program, function));
//   Tensor embedding = POM_TRY(pooled("mean", outputs, given));       // [width], of length 1
//
// The inputs are found by the names that such models give them: input_ids, attention_mask, token_type_ids.
#pragma once
#include "ir/program.h"
#include "llm/tokenizer.h"

namespace pomona::api {

// The tokenizer in `place` (a file or folder); with an empty place that which the model carries.
Result<std::shared_ptr<const llm::Tokenizer>> tokenizer_for(const Program& program, const std::string& place);
// One text as a batch of one, padded where the model's length is fixed, cut where it is bounded.
Result<NamedTensors> text_inputs(const llm::Tokenizer& tokenizer, const std::string& text, const Program& program,
                                 const Function& function);
// `method`: "mean" over the tokens that are not padding, or "first" token's state. Divided by its length.
Result<Tensor> pooled(const std::string& method, const NamedTensors& outputs, const NamedTensors& inputs);

}  // namespace pomona::api
