// Rotary position embeddings as tables: cosines and signed sines of every position.
//
//   RopeTables t = POM_TRY(rope_tables(rope, 4096 + 63, 4096, own_context));
//
// A head's first `width` elements x become x * cosines + crossed(x) * sines, where crossed swaps the halves; the minus
// of the first half is in the sines. Scalings that depend on the length of the text use that of the context.
#pragma once
#include <set>
#include <string>

#include "ir/program.h"
#include "llm/decoder.h"

namespace pomona::llm {

struct RopeTables {
  Weight cosines, sines;  // fp32 [rows, width]
};
// `own_context` is the model's max_position_embeddings.
Result<RopeTables> rope_tables(const Rope& rope, std::int64_t rows, std::int64_t context, std::int64_t own_context);

// Names of the weights of a language model that are such tables: a small part of its bytes, and all it knows of the
// order of words.
std::set<std::string> rope_table_names(const Program& program);

}  // namespace pomona::llm
