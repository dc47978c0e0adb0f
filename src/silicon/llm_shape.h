// What a language model's speed depends on besides its bytes: layers, width, cached elements, vocabulary, and how many
// parameters one token uses.
//
//   LlmShape s = llm_shape("Llama-3.1-8B-Instruct", 8.03);
//
// Models are known by name; of others the shape is estimated from the number of parameters, as dense models of that
// size usually are.
#pragma once
#include <optional>
#include <string_view>

namespace pomona::silicon {

struct LlmShape {
  int layers = 32, width = 4096;
  int kv_width = 1024;  // heads that are cached times their size; keys and values have as many each
  int vocabulary = 128256;
  std::optional<double> active_b;  // of a mixture of experts: billions of parameters that one token uses
  bool tied_head = false;          // the embedding is read as the output projection too
  bool known = false;              // by name
};

LlmShape llm_shape(std::string_view model, double params_b);

}  // namespace pomona::silicon
