// Builds the program of a language model from its checkpoint, and says how such a program is called.
//
//   Checkpoint c = POM_TRY(open_checkpoint(path));
//   Program p = POM_TRY(build_program(c, {.cache = Cache::state, .context = 2048}));
//   LanguageModel m = POM_TRY(language_model_of(p));      // also of a program read back from a package
//
// How generation calls it (all dtypes at the border: int32, and fp16 or fp32):
//   inputs   input_ids int32 [1, T]: T tokens
//            position  int32 [1]: the place of the first of them in the text, from 0 (not with Cache::none)
//            last      int32 [1]: the index in 0..T-1 whose logits are wanted (functions with T > 1 only)
//   output   logits [1, 1, vocabulary]; with all_logits [1, T, vocabulary] and no `last`
//   caches   Cache::state: MLStates, written in place, key_cache_N and value_cache_N of [1, kv_heads, context,
//            head_dim], or with stack_states key_cache and value_cache of [layers, kv_heads, context, head_dim]
//            (key_cache_window_N of layers with a window); Cache::io: inputs key_cache_N, value_cache_N with the past,
//            outputs new_keys_N and new_values_N [1, kv_heads, T, head_dim], which the caller puts at `position`;
//            Cache::none: no past, input_ids holds all. LanguageModel::caches has the names.
// T is fixed per function ("decode": 1, "prefill": its own; "main" without a cache: the context), or bounded
// (1..prefill, without a cache 1..context) with in_memory, whose one function is "main". A model for a system before
// iOS18, which knows one function only, has "decode" alone. Rows of a prefill beyond the text may hold any token: what
// they leave in the cache is overwritten before it is looked at. But all T rows must have places: position + T is at
// most the context.
// A layer with a sliding window keeps a rotating cache of window + prefill - 1 places or a few more: what stands at
// place p in the text lives at p modulo CacheLayout::places.
//
// Encoders (bert and kin) have one function "main": input_ids, attention_mask, (token_type_ids) -> last_hidden_state
// and, when the checkpoint says how to pool, sentence_embedding.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "llm/checkpoint.h"

namespace pomona::llm {

enum class Engine : std::uint8_t { gpu, ane };
enum class Cache : std::uint8_t { state, io, none };

struct BuildOptions {
  Target target = Target::iOS18;
  Engine engine = Engine::gpu;
  Cache cache = Cache::state;
  std::int64_t context = 0;   // 0: the model's own, at most 4096
  std::int64_t prefill = 64;  // tokens per call of "prefill"; 1: "decode" alone
  DType dtype = DType::fp16;  // of activations and decoded weights
  bool in_memory = false;     // for running here: one function "main" whose T is 1..prefill
  bool all_logits = false;
  bool stack_states = false;   // Cache::state: one state for the keys of all layers that are alike, one for the values
  int split_head = 1;          // the output projection in so many parts
  bool keep_quantised = true;  // Engine::gpu: weights stay as the source has them where the target holds that
  // Not 0: a function "calibration" stands before the others, which reads so many tokens without a cache (fewer where
  // the model has fewer positions). It is there
  // for compressing with data, and whoever asked for it takes it out.
  std::int64_t calibration_tokens = 0;
};

// What became of each matrix.
struct MatrixLine {
  std::string name, storage;  // as the source has it
  std::string scheme, note;   // as the program has it; what differs from the source
  std::uint64_t stored_bytes = 0, bytes = 0;
};
struct BuildReport {
  std::vector<MatrixLine> matrices;
  std::vector<std::string> fragile;  // names of weights that bear few bits worse than the others
};

// Errors: a model_type that no family has; configuration keys or tensors that the family does not know (all named).
Result<Program> build_program(const Checkpoint& checkpoint, const BuildOptions& options, BuildReport* report = nullptr);

// What a program made by build_program says of itself, in this metadata key (JSON).
inline constexpr const char* description_key = "com.pomona.llm";
struct CacheLayout {
  std::string keys, values;          // names of the state, or of the inputs
  std::string new_keys, new_values;  // Cache::io: names of the outputs
  Sizes shape;                       // of keys and of values
  std::int64_t places = 0;           // along axis 2: context, or the length of a rotating cache
  bool rotating = false;
};
struct LanguageModel {
  std::string family;  // model_type
  Engine engine = Engine::gpu;
  Cache cache = Cache::state;
  std::int64_t context = 0, prefill = 1, vocabulary = 0;
  // Not 0: positions are turned otherwise in texts longer than this; it was built for texts as long as the context.
  std::int64_t turns_change_at = 0;
  bool in_memory = false, all_logits = false;
  std::vector<CacheLayout> caches;
  std::string tokenizer, tokenizer_config, generation_config;  // JSON texts, from their own metadata keys
};
Result<LanguageModel> language_model_of(const Program& program);
bool is_language_model(const Program& program);
// The tokenizer.json that a program made by build_program carries, an encoder's, too; empty where it has none.
std::string tokenizer_in(const Program& program);
// The most tokens that a text has to an encoder; 0 where it does not say.
std::int64_t most_tokens_in(const Program& program);
// Whether a configuration's model_type is an encoder's.
bool is_encoder(const Checkpoint& checkpoint);

}  // namespace pomona::llm
