#include <charconv>

#include <nlohmann/json.hpp>
#include "formats/gguf/blocks.h"
#include "llm/checkpoints/fields.h"
#include "llm/checkpoints/sources.h"

namespace pomona::llm {
namespace {

using Json = nlohmann::json;

// What has to be done to a tensor so that it is the one that transformers has.
enum class Change : std::uint8_t {
  none,
  queries,     // rows of each head, whose halves lie interleaved
  keys,        // likewise
  mixed,       // queries, keys and values of one matrix, which belong head by head
  transposed,  // [in, out]
};

// A name in GGUF and in transformers; '#' stands for the number of the layer, '%' for that of an expert.
struct Rename {
  std::string_view gguf, name;
  Change change = Change::none;
};

constexpr Rename llama_names[] = {
    {"token_embd", "model.embed_tokens"},
    {"output_norm", "model.norm"},
    {"output", "lm_head"},
    {"blk.#.attn_norm", "model.layers.#.input_layernorm"},
    {"blk.#.attn_q", "model.layers.#.self_attn.q_proj", Change::queries},
    {"blk.#.attn_k", "model.layers.#.self_attn.k_proj", Change::keys},
    {"blk.#.attn_v", "model.layers.#.self_attn.v_proj"},
    {"blk.#.attn_output", "model.layers.#.self_attn.o_proj"},
    {"blk.#.ffn_norm", "model.layers.#.post_attention_layernorm"},
    {"blk.#.ffn_gate", "model.layers.#.mlp.gate_proj"},
    {"blk.#.ffn_up", "model.layers.#.mlp.up_proj"},
    {"blk.#.ffn_down", "model.layers.#.mlp.down_proj"},
    {"blk.#.ffn_gate_inp", "model.layers.#.block_sparse_moe.gate"},
    {"blk.#.ffn_gate_exps", "model.layers.#.block_sparse_moe.experts.%.w1"},
    {"blk.#.ffn_down_exps", "model.layers.#.block_sparse_moe.experts.%.w2"},
    {"blk.#.ffn_up_exps", "model.layers.#.block_sparse_moe.experts.%.w3"},
    {"blk.#.ffn_gate.%", "model.layers.#.block_sparse_moe.experts.%.w1"},
    {"blk.#.ffn_down.%", "model.layers.#.block_sparse_moe.experts.%.w2"},
    {"blk.#.ffn_up.%", "model.layers.#.block_sparse_moe.experts.%.w3"},
};
constexpr Rename qwen_names[] = {
    {"token_embd", "model.embed_tokens"},
    {"output_norm", "model.norm"},
    {"output", "lm_head"},
    {"blk.#.attn_norm", "model.layers.#.input_layernorm"},
    {"blk.#.attn_q", "model.layers.#.self_attn.q_proj"},
    {"blk.#.attn_k", "model.layers.#.self_attn.k_proj"},
    {"blk.#.attn_v", "model.layers.#.self_attn.v_proj"},
    {"blk.#.attn_q_norm", "model.layers.#.self_attn.q_norm"},
    {"blk.#.attn_k_norm", "model.layers.#.self_attn.k_norm"},
    {"blk.#.attn_output", "model.layers.#.self_attn.o_proj"},
    {"blk.#.ffn_norm", "model.layers.#.post_attention_layernorm"},
    {"blk.#.ffn_gate", "model.layers.#.mlp.gate_proj"},
    {"blk.#.ffn_up", "model.layers.#.mlp.up_proj"},
    {"blk.#.ffn_down", "model.layers.#.mlp.down_proj"},
    {"blk.#.ffn_gate_inp", "model.layers.#.mlp.gate"},
    {"blk.#.ffn_gate_exps", "model.layers.#.mlp.experts.%.gate_proj"},
    {"blk.#.ffn_down_exps", "model.layers.#.mlp.experts.%.down_proj"},
    {"blk.#.ffn_up_exps", "model.layers.#.mlp.experts.%.up_proj"},
};
// Gemma 2 and 3 have four norms per layer, so the second of two is another one there.
constexpr Rename gemma_names[] = {
    {"blk.#.ffn_norm", "model.layers.#.pre_feedforward_layernorm"},
    {"blk.#.post_attention_norm", "model.layers.#.post_attention_layernorm"},
    {"blk.#.post_ffw_norm", "model.layers.#.post_feedforward_layernorm"},
};
constexpr Rename phi3_names[] = {
    {"blk.#.attn_qkv", "model.layers.#.self_attn.qkv_proj"},
    {"blk.#.ffn_up", "model.layers.#.mlp.gate_up_proj"},
};
constexpr Rename gpt2_names[] = {
    {"token_embd", "transformer.wte"},
    {"position_embd", "transformer.wpe"},
    {"output_norm", "transformer.ln_f"},
    {"output", "lm_head"},
    {"blk.#.attn_norm", "transformer.h.#.ln_1"},
    {"blk.#.attn_qkv", "transformer.h.#.attn.c_attn", Change::transposed},
    {"blk.#.attn_output", "transformer.h.#.attn.c_proj", Change::transposed},
    {"blk.#.ffn_norm", "transformer.h.#.ln_2"},
    {"blk.#.ffn_up", "transformer.h.#.mlp.c_fc", Change::transposed},
    {"blk.#.ffn_down", "transformer.h.#.mlp.c_proj", Change::transposed},
};
constexpr Rename gpt_neox_names[] = {
    {"token_embd", "gpt_neox.embed_in"},
    {"output_norm", "gpt_neox.final_layer_norm"},
    {"output", "embed_out"},
    {"blk.#.attn_norm", "gpt_neox.layers.#.input_layernorm"},
    {"blk.#.attn_qkv", "gpt_neox.layers.#.attention.query_key_value", Change::mixed},
    {"blk.#.attn_output", "gpt_neox.layers.#.attention.dense"},
    {"blk.#.ffn_norm", "gpt_neox.layers.#.post_attention_layernorm"},
    {"blk.#.ffn_up", "gpt_neox.layers.#.mlp.dense_h_to_4h"},
    {"blk.#.ffn_down", "gpt_neox.layers.#.mlp.dense_4h_to_h"},
};
constexpr Rename bert_names[] = {
    {"token_embd", "embeddings.word_embeddings"},
    {"position_embd", "embeddings.position_embeddings"},
    {"token_types", "embeddings.token_type_embeddings"},
    {"token_embd_norm", "embeddings.LayerNorm"},
    {"blk.#.attn_q", "encoder.layer.#.attention.self.query"},
    {"blk.#.attn_k", "encoder.layer.#.attention.self.key"},
    {"blk.#.attn_v", "encoder.layer.#.attention.self.value"},
    {"blk.#.attn_output", "encoder.layer.#.attention.output.dense"},
    {"blk.#.attn_output_norm", "encoder.layer.#.attention.output.LayerNorm"},
    {"blk.#.ffn_up", "encoder.layer.#.intermediate.dense"},
    {"blk.#.ffn_down", "encoder.layer.#.output.dense"},
    {"blk.#.layer_output_norm", "encoder.layer.#.output.LayerNorm"},
};

// Tables for a model type; earlier ones win.
std::vector<std::span<const Rename>> tables_for(const std::string& type) {
  if (type == "llama" || type == "mixtral" || type == "smollm3") return {llama_names};
  if (type == "gemma2" || type == "gemma3_text") return {gemma_names, qwen_names};
  if (type == "phi3") return {phi3_names, qwen_names};
  if (type == "gpt2") return {gpt2_names};
  if (type == "gpt_neox") return {gpt_neox_names};
  if (type == "bert") return {bert_names};
  return {qwen_names};
}

// A GGUF name with its numbers taken out: "blk.12.ffn_up.3.bias" is "blk.#.ffn_up.%", {"12", "3"}, ".bias".
struct Pattern {
  std::string text, layer, expert, suffix;
};
Pattern pattern_of(std::string name) {
  Pattern p;
  std::size_t dot = name.rfind('.');
  if (dot != name.npos && (name.substr(dot) == ".weight" || name.substr(dot) == ".bias")) {
    p.suffix = name.substr(dot);
    name.resize(dot);
  }
  for (std::size_t begin = 0; begin <= name.size();) {
    std::size_t end = std::min(name.find('.', begin), name.size());
    std::string part = name.substr(begin, end - begin);
    bool number = !part.empty() && part.find_first_not_of("0123456789") == part.npos;
    if (begin) p.text += '.';
    if (number) (p.layer.empty() ? p.layer : p.expert) = part;
    p.text += !number ? part : p.expert.empty() ? "#" : "%";
    begin = end + 1;
  }
  return p;
}

std::string filled(std::string_view name, const Pattern& p, const std::string& expert) {
  std::string text;
  for (char c : name)
    if (c == '#')
      text += p.layer;
    else if (c == '%')
      text += expert;
    else
      text += c;
  return text + p.suffix;
}

Quantised quantised_of(const gguf::TensorEntry& entry, Weight bytes) {
  const gguf::BlockType& type = *entry.type;
  Quantised q;
  q.storage = type.name;
  q.sizes = entry.sizes;
  q.group = type.group;
  q.codes = type.dtype;
  q.offset = type.shifted ? Offset::shift : Offset::none;
  q.values.assign(type.values.begin(), type.values.end());
  q.sources = {std::move(bytes)};
  q.what = fmt::format("{} {}", type.name, to_string(entry.sizes));
  std::size_t per_row = std::size_t(entry.sizes.back()) / type.elements;
  q.read_codes = [&type, per_row](std::span<const Tensor> in, std::size_t begin, std::size_t count,
                                  std::uint8_t* codes) {
    gguf::read_codes(type, in[0].data() + begin * per_row * type.bytes, count * per_row, codes);
  };
  q.read_scales = [&type, per_row](std::span<const Tensor> in, std::size_t begin, std::size_t count, float* scales,
                                   float* offsets) {
    gguf::read_scales(type, in[0].data() + begin * per_row * type.bytes, count * per_row, scales, offsets);
  };
  return q;
}

using Rows = std::shared_ptr<const std::vector<std::size_t>>;

// GGUF has the two halves of each head interleaved: its row 2i + j is row j·d/2 + i here.
Result<Rows> uninterleaved(std::int64_t rows, std::int64_t heads) {
  POM_REQUIRE(heads > 0 && rows % (2 * heads) == 0, "its {} rows do not divide into {} heads", rows, heads);
  std::size_t size = std::size_t(rows / heads), half = size / 2;
  auto order = std::make_shared<std::vector<std::size_t>>();
  for (std::size_t row = 0; row < std::size_t(rows); ++row) {
    std::size_t in_head = row % size;
    order->push_back(row - in_head + in_head % half * 2 + in_head / half);
  }
  return Rows(order);
}

// All queries, all keys, all values there; query, key and value of each head here.
Result<Rows> by_head(std::int64_t rows, std::int64_t heads) {
  POM_REQUIRE(heads > 0 && rows % (3 * heads) == 0, "its {} rows do not divide into 3 x {} heads", rows, heads);
  std::size_t size = std::size_t(rows / heads / 3), count = std::size_t(heads);
  auto order = std::make_shared<std::vector<std::size_t>>();
  for (std::size_t h = 0; h < count; ++h)
    for (std::size_t part = 0; part < 3; ++part)
      for (std::size_t i = 0; i < size; ++i) order->push_back((part * count + h) * size + i);
  return Rows(order);
}

Result<Rows> rows_for(Change change, const gguf::TensorEntry& entry, const Json& config) {
  std::int64_t heads = integer_field(config, "num_attention_heads", 0);
  if (change == Change::mixed) return by_head(entry.sizes[0], heads);
  if (change == Change::keys) heads = integer_field(config, "num_key_value_heads", heads);
  return uninterleaved(entry.sizes[0], heads);
}

Weight transposed(const Weight& matrix) {
  Sizes sizes{matrix.sizes()[1], matrix.sizes()[0]};
  return Weight::derived(
      {"transposed", matrix.dtype(), sizes, {matrix}, [sizes](std::span<const Tensor> in) -> Result<Tensor> {
         Tensor out(in[0].dtype(), sizes);
         std::size_t width = element_size_bytes(out.dtype()), rows = std::size_t(sizes[0]),
                     columns = std::size_t(sizes[1]);
         const std::uint8_t* from = in[0].data();
         std::uint8_t* to = out.mutable_data();
         for (std::size_t r = 0; r < rows; ++r)
           for (std::size_t c = 0; c < columns; ++c, to += width) std::memcpy(to, from + (c * rows + r) * width, width);
         return out;
       }});
}

// Gemma's norms multiply by one more than their weight; GGUF has that one added.
Weight minus_one(const Weight& weight) {
  return Weight::derived({"minus one",
                          DType::fp32,
                          weight.sizes(),
                          {Weight::cast(weight, DType::fp32)},
                          [](std::span<const Tensor> in) -> Result<Tensor> {
                            Tensor out(DType::fp32, in[0].sizes());
                            auto to = out.mutable_view<float>();
                            for (std::size_t i = 0; i < to.size(); ++i) to[i] = in[0].view<float>()[i] - 1;
                            return out;
                          }});
}

Result<CheckpointTensor> changed(const gguf::TensorEntry& entry, Change change, bool norm_above_one,
                                 const Json& config) {
  std::string storage(entry.type->name);
  std::uint64_t bytes = entry.bytes.size();
  // Biases are vectors: what changes a matrix's rows changes their elements, and there is nothing to transpose.
  bool reorder = change != Change::none && change != Change::transposed;
  Rows rows = reorder ? POM_TRY(rows_for(change, entry, config)) : nullptr;
  constexpr const char* words = "rows by head";
  if (entry.type->group && entry.sizes.size() >= 2) {
    Quantised q = quantised_of(entry, POM_TRY(Weight::stored(entry.bytes, DType::uint8, {std::int64_t(bytes)})));
    if (reorder) q = with_rows(q, rows, words);
    CheckpointTensor tensor = tensor_of(q, bytes);
    if (change != Change::transposed) return tensor;
    return tensor_of(transposed(tensor.decoded), storage, bytes);
  }
  Weight weight = POM_TRY(gguf::decoded(entry));
  if (reorder) weight = with_rows(weight, rows, words);
  if (change == Change::transposed && entry.sizes.size() == 2) weight = transposed(weight);
  if (norm_above_one) weight = minus_one(weight);
  return tensor_of(std::move(weight), storage, bytes);
}

// One expert's part of a tensor that has them all.
Result<gguf::TensorEntry> expert_of(const gguf::TensorEntry& entry, std::int64_t expert) {
  gguf::TensorEntry part = entry;
  part.sizes.erase(part.sizes.begin());
  std::uint64_t size = entry.bytes.size() / std::uint64_t(entry.sizes[0]);
  part.bytes = POM_TRY(entry.bytes.slice(size * std::uint64_t(expert), size));
  return part;
}

// Tensors that only say what the configuration says as well.
bool in_configuration(std::string_view name) {
  return name == "rope_freqs.weight" || name == "rope_factors_long.weight" || name == "rope_factors_short.weight";
}

}  // namespace

std::vector<std::string> names_of_gguf_tensor(const std::string& name) {
  Pattern p = pattern_of(name);
  std::vector<std::string> names;
  for (std::span<const Rename> table :
       {std::span<const Rename>(llama_names), std::span<const Rename>(qwen_names), std::span<const Rename>(gemma_names),
        std::span<const Rename>(phi3_names), std::span<const Rename>(gpt2_names),
        std::span<const Rename>(gpt_neox_names), std::span<const Rename>(bert_names)})
    for (const Rename& r : table)
      if (r.gguf == p.text) names.push_back(filled(r.name, p, p.expert));
  return names;
}

Status add_gguf_tensors(const gguf::File& file, const Json& config, Checkpoint& checkpoint) {
  std::string type = config["model_type"];
  auto tables = tables_for(type);
  std::vector<std::string> unknown;
  for (const gguf::TensorEntry& entry : file.tensors) {
    if (in_configuration(entry.name)) continue;
    Pattern p = pattern_of(entry.name);
    const Rename* found = nullptr;
    for (auto table : tables)
      for (const Rename& r : table)
        if (!found && r.gguf == p.text) found = &r;
    if (!found) {
      unknown.push_back(entry.name);
      continue;
    }
    bool norm = type.starts_with("gemma") && entry.name.ends_with("norm.weight");
    bool experts = found->name.find('%') != found->name.npos && p.expert.empty();
    std::int64_t count = experts && entry.sizes.size() == 3 ? entry.sizes[0] : 1;
    for (std::int64_t e = 0; e < count; ++e) {
      gguf::TensorEntry part = experts && entry.sizes.size() == 3 ? POM_TRY(expert_of(entry, e)) : entry;
      std::string name = filled(found->name, p, experts ? std::to_string(e) : p.expert);
      checkpoint.tensors[name] = POM_TRY_IN(changed(part, found->change, norm, config), "tensor '{}'", entry.name);
    }
  }
  if (unknown.empty()) return {};
  std::string names;
  for (std::size_t i = 0; i < unknown.size() && i < 8; ++i) names += (i ? ", '" : "'") + unknown[i] + "'";
  return fail("{} tensors are not known of {} models: {}", unknown.size(), type, names);
}

}  // namespace pomona::llm
