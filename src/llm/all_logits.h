// A package gives the logits of a piece's last token only, which is all that writing text needs. Scoring a text wants
// every token's, and one call for each costs ten times as much as a piece at once.
//
//   POM_TRY(give_all_logits(program));        // logits [1, T, vocabulary], and no input `last`
#pragma once
#include "ir/program.h"

namespace pomona::llm {

// For programs that language_model_of() understands; its `all_logits` is true afterwards. The program is only fit for
// running here then, and is of no use after an error. Errors: a function picks the last token in a way not known here.
Status give_all_logits(Program& program);

}  // namespace pomona::llm
