// How much the inputs of a model's weights matter, from files that others made.
//
//   auto importance = POM_TRY(read_importance("model.imatrix", program, warnings));     // by the weights' names here
//
// Importance matrices of llama.cpp (either kind of file) name tensors as GGUF does; they are matched to weights by the
// names that transformers has for them. An .npz has arrays by weight: a number per input channel, or one per element.
#pragma once
#include "ir/program.h"

namespace pomona::api {

Result<std::map<std::string, std::vector<float>>> read_importance(const std::string& path, const Program& program,
                                                                  std::vector<std::string>& warnings);
// Whether the file begins as an importance matrix does.
bool is_importance_file(const std::string& path);

}  // namespace pomona::api
