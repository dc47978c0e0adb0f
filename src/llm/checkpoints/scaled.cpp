#include <cmath>
#include <numeric>

#include <nlohmann/json.hpp>
#include "base/half.h"
#include "llm/checkpoints/fields.h"
#include "llm/checkpoints/packed.h"
#include "llm/checkpoints/taken.h"

namespace pomona::llm {
namespace {

using Json = nlohmann::json;

// A scale for each rectangle of a matrix: one for all, one per row, per row and group, or per block of both.
struct Grid {
  std::size_t rows = 1, columns = 1;              // of scales
  std::size_t block_rows = 1, block_columns = 1;  // of elements that share one
  std::size_t at(std::size_t row, std::size_t column) const {
    return row / block_rows * columns + column / block_columns;
  }
};

Result<Grid> grid_of(const Sizes& scales, std::int64_t rows, std::int64_t columns, const Sizes& block) {
  Sizes two = scales;
  while (two.size() < 2) two.push_back(1);
  POM_REQUIRE(two.size() == 2 && two[0] > 0 && two[1] > 0, "its scales have the sizes {}", to_string(scales));
  bool blocks = block.size() == 2 && block[0] > 0 && block[1] > 0 && (rows + block[0] - 1) / block[0] == two[0] &&
                (columns + block[1] - 1) / block[1] == two[1];
  if (blocks) return Grid{std::size_t(two[0]), std::size_t(two[1]), std::size_t(block[0]), std::size_t(block[1])};
  POM_REQUIRE(rows % two[0] == 0 && columns % two[1] == 0, "scales {} do not divide a matrix of {} x {}",
              to_string(scales), rows, columns);
  return Grid{std::size_t(two[0]), std::size_t(two[1]), std::size_t(rows / two[0]), std::size_t(columns / two[1])};
}

Sizes sizes_field(const Json& settings, const char* key) {
  Sizes sizes;
  if (settings.contains(key) && settings[key].is_array())
    for (const Json& size : settings[key])
      if (size.is_number_integer()) sizes.push_back(size.get<std::int64_t>());
  return sizes;
}

// What compressed-tensors' groups of modules say of their weights.
std::vector<Json> weight_settings(const Json& settings) {
  std::vector<Json> all;
  if (!settings.contains("config_groups") || !settings["config_groups"].is_object()) return all;
  for (const auto& [name, group] : settings["config_groups"].items())
    if (group.is_object() && group.contains("weights") && group["weights"].is_object()) all.push_back(group["weights"]);
  return all;
}

Sizes block_size_of(const Json& settings) {
  Sizes block = sizes_field(settings, "weight_block_size");
  for (const Json& weights : weight_settings(settings))
    if (block.empty()) block = sizes_field(weights, "block_structure");
  return block;
}

// Whole or 8-bit floating numbers, as they are, times the scales of a grid.
Result<Quantised> scaled(const std::string& weight, const std::string& scale, const std::string& method,
                         const Sizes& block, Taken& taken) {
  Sizes sizes = taken.sizes(weight);
  POM_REQUIRE(sizes.size() == 2 && sizes[0] > 0 && sizes[1] > 0, "'{}' has the sizes {}", weight, to_string(sizes));
  Grid grid = POM_TRY_IN(grid_of(taken.sizes(scale), sizes[0], sizes[1], block), "'{}'", scale);
  Quantised q;
  q.sizes = sizes;
  q.sources = {POM_TRY(taken.take(weight, sizes)), POM_TRY(taken.take(scale, Sizes(taken.sizes(scale).size(), -1)))};
  DType dtype = q.sources[0].dtype();
  POM_REQUIRE(dtype == DType::int8 || dtype == DType::f8e4m3fn || dtype == DType::f8e5m2,
              "'{}' holds {}, for which scales are not known", weight, name(dtype));
  if (dtype != DType::int8) {
    q.codes = DType::uint8;
    for (unsigned i = 0; i < 256; ++i)
      q.table.push_back(dtype == DType::f8e4m3fn ? e4m3fn_to_float(std::uint8_t(i)) : e5m2_to_float(std::uint8_t(i)));
  }
  q.group = std::gcd(sizes[1], std::int64_t(grid.block_columns));
  q.storage = fmt::format("{} {}", method, name(dtype));
  std::size_t columns = q.columns(), groups = q.groups(), group = std::size_t(q.group);
  q.read_codes = [columns](std::span<const Tensor> in, std::size_t begin, std::size_t count, std::uint8_t* codes) {
    std::memcpy(codes, in[0].data() + begin * columns, count * columns);
  };
  q.read_scales = [=](std::span<const Tensor> in, std::size_t begin, std::size_t count, float* scales, float*) {
    for (std::size_t r = 0; r < count; ++r)
      for (std::size_t g = 0; g < groups; ++g) scales[r * groups + g] = number_of(in[1], grid.at(begin + r, g * group));
  };
  return q;
}

// int8 with a zero point per scale.
Status add_zero_points(const std::string& name, Quantised& q, Taken& taken) {
  Sizes sizes = q.sources[1].sizes();
  q.sources.push_back(POM_TRY(taken.take(name, sizes, DType::int8)));
  Grid grid = POM_TRY(grid_of(sizes, q.sizes[0], q.sizes[1], {}));
  q.offset = Offset::zero;
  std::size_t groups = q.groups(), group = std::size_t(q.group);
  q.read_scales = [=](std::span<const Tensor> in, std::size_t begin, std::size_t count, float* scales, float* offsets) {
    for (std::size_t r = 0; r < count; ++r)
      for (std::size_t g = 0; g < groups; ++g) {
        std::size_t at = grid.at(begin + r, g * group);
        scales[r * groups + g] = number_of(in[1], at);
        if (offsets) offsets[r * groups + g] = float(in[2].view<std::int8_t>()[at]);
      }
  };
  return {};
}

struct Ordered {
  Quantised quantised;
  std::vector<std::size_t> columns;
};

// How a matrix was packed: of what compressed-tensors' groups of modules say, that which its words fit.
struct Packing {
  unsigned bits = 0;
  std::int64_t stated_group = 0;
};
Result<Packing> packing_of(const Json& settings, std::int64_t columns, std::int64_t words, std::int64_t scales) {
  auto fits = [&](std::int64_t bits) {
    return bits >= 1 && bits <= 8 && (columns + 32 / bits - 1) / (32 / bits) == words;
  };
  std::optional<Packing> found;
  for (const Json& weights : weight_settings(settings)) {
    std::int64_t bits = integer_field(weights, "num_bits", 0), group = integer_field(weights, "group_size", 0);
    if (!fits(bits)) continue;
    bool groups_fit = group <= 0 ? scales == 1 : (columns + group - 1) / group == scales;
    if (!found || groups_fit) found = Packing{unsigned(bits), group};
  }
  for (std::int64_t bits : {4, 8, 2})
    if (!found && fits(bits)) found = Packing{unsigned(bits), 0};
  POM_REQUIRE(found, "'weight_shape' says {} columns, but there are {} words a row", columns, words);
  return *found;
}

// compressed-tensors' "pack-quantized": codes packed along rows, less half their range.
Result<Ordered> packed(const std::string& module, const Json& settings, Taken& taken) {
  Sizes words = taken.sizes(module + ".weight_packed");
  POM_REQUIRE(words.size() == 2 && words[1] < 1ll << 40, "'weight_packed' has the sizes {}", to_string(words));
  Tensor shape = POM_TRY(POM_TRY(taken.take(module + ".weight_shape", {2})).materialise());
  std::int64_t rows = shape.integers()[0], columns = shape.integers()[1];
  POM_REQUIRE(rows == words[0] && columns > 0 && columns < 1ll << 40,
              "'weight_shape' says {} x {}, but there are {} words", rows, columns, to_string(words));
  POM_REQUIRE(taken.has(module + ".weight_scale"), "it has no weight_scale");
  Sizes scales = taken.sizes(module + ".weight_scale");
  POM_REQUIRE(scales.size() == 2 && scales[0] == rows, "'weight_scale' has the sizes {}", to_string(scales));
  Packing packing = POM_TRY(packing_of(settings, columns, words[1], scales[1]));
  const unsigned bits = packing.bits, half = 1u << (bits - 1);
  std::int64_t stated = POM_TRY(group_of(columns, scales[1], packing.stated_group));
  Ordered result;
  Quantised& q = result.quantised;
  q.sizes = {rows, columns};
  q.group = std::gcd(stated, columns);
  q.codes = bits <= 4 ? DType::int4 : DType::int8;
  if (bits <= 2)
    for (int code = -int(half); code < int(half); ++code) q.values.push_back(std::int8_t(code));
  q.storage = fmt::format("compressed-tensors int{} g{}", bits, stated);
  q.sources = {POM_TRY(taken.take(module + ".weight_packed", words, DType::int32)),
               POM_TRY(taken.take(module + ".weight_scale", scales))};
  // Zero points are packed along columns.
  bool zeros = taken.has(module + ".weight_zero_point");
  if (zeros) {
    q.offset = Offset::zero;
    std::int64_t each = 32 / bits;
    q.sources.push_back(
        POM_TRY(taken.take(module + ".weight_zero_point", {(rows + each - 1) / each, scales[1]}, DType::int32)));
  }
  if (taken.has(module + ".weight_g_idx"))
    result.columns = POM_TRY(
        column_order(POM_TRY(taken.take(module + ".weight_g_idx", {columns}, DType::int32)), scales[1], stated));
  std::size_t width = std::size_t(columns), row_words = std::size_t(words[1]), groups = q.groups(),
              part = std::size_t(q.group), group = std::size_t(stated), per_row = std::size_t(scales[1]);
  q.read_codes = [=, order = result.columns](std::span<const Tensor> in, std::size_t begin, std::size_t count,
                                             std::uint8_t* codes) {
    for (std::size_t r = 0; r < count; ++r)
      for (std::size_t c = 0; c < width; ++c) {
        std::size_t column = order.empty() ? c : order[c];
        codes[r * width + c] =
            std::uint8_t(whole_code_at(in[0].data(), (begin + r) * row_words, 1, column, bits) - half);
      }
  };
  q.read_scales = [=](std::span<const Tensor> in, std::size_t begin, std::size_t count, float* scales, float* offsets) {
    for (std::size_t r = 0; r < count; ++r)
      for (std::size_t g = 0; g < groups; ++g) {
        std::size_t at = g * part / group;
        scales[r * groups + g] = number_of(in[1], (begin + r) * per_row + at);
        if (offsets)
          offsets[r * groups + g] = float(int(whole_code_at(in[2].data(), at, per_row, begin + r, bits)) - int(half));
      }
  };
  return result;
}

// Twice the values of FP4 E2M1, so that they are whole numbers.
constexpr std::int8_t e2m1_doubled[] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

// compressed-tensors' "nvfp4-pack-quantized": two codes to a byte, an E4M3 scale per 16 and one divisor for all.
Result<Quantised> nvfp4(const std::string& module, Taken& taken) {
  Sizes bytes = taken.sizes(module + ".weight_packed");
  POM_REQUIRE(bytes.size() == 2 && bytes[1] % 8 == 0, "'weight_packed' has the sizes {}", to_string(bytes));
  Quantised q;
  q.sizes = {bytes[0], bytes[1] * 2};
  q.group = 16;
  q.storage = "compressed-tensors nvfp4";
  q.sources = {POM_TRY(taken.take(module + ".weight_packed", bytes, DType::uint8)),
               POM_TRY(taken.take(module + ".weight_scale", {bytes[0], bytes[1] / 8}, DType::f8e4m3fn)),
               POM_TRY(taken.take(module + ".weight_global_scale", {1}))};
  std::size_t half = std::size_t(bytes[1]), groups = q.groups();
  q.read_codes = [half](std::span<const Tensor> in, std::size_t begin, std::size_t count, std::uint8_t* codes) {
    const std::uint8_t* from = in[0].data() + begin * half;
    for (std::size_t i = 0; i < count * half; ++i) {
      codes[2 * i] = std::uint8_t(e2m1_doubled[from[i] & 15]);
      codes[2 * i + 1] = std::uint8_t(e2m1_doubled[from[i] >> 4]);
    }
  };
  q.read_scales = [groups](std::span<const Tensor> in, std::size_t begin, std::size_t count, float* scales, float*) {
    float whole = number_of(in[2], 0);
    for (std::size_t i = 0; i < count * groups; ++i)
      scales[i] = e4m3fn_to_float(in[1].data()[begin * groups + i]) / whole * 0.5f;
  };
  return q;
}

void finish(Quantised& q, const std::string& module) {
  q.what = fmt::format("{} {} of '{}'", q.storage, to_string(q.sizes), module);
}

// How activations were to be quantised is no part of the weights.
void drop_activation_scales(Taken& taken) {
  for (const char* suffix : {".input_scale", ".input_zero_point", ".input_global_scale", ".output_scale", ".k_scale",
                             ".v_scale", ".activation_scale"})
    for (const std::string& module : taken.modules(suffix)) taken.drop(module + suffix);
}

// bitsandbytes' own account of a matrix, as JSON in a tensor of bytes.
struct State {
  std::string kind;
  std::int64_t block = 64, rows = 0, columns = 0, nested_block = 256;
  double nested_offset = 0;
};
Result<State> state_of(const Weight& weight) {
  Tensor bytes = POM_TRY(weight.materialise());
  const char* text = reinterpret_cast<const char*>(bytes.data());
  Json json = Json::parse(text, text + bytes.size_bytes(), nullptr, false);
  POM_REQUIRE(json.is_object() && json.contains("shape") && json["shape"].is_array() && json["shape"].size() == 2 &&
                  json["shape"][0].is_number_unsigned() && json["shape"][1].is_number_unsigned(),
              "its quant_state gives no shape of two sizes");
  State s;
  s.kind = text_field(json, "quant_type", "nf4");
  s.block = integer_field(json, "blocksize", s.block);
  s.nested_block = integer_field(json, "nested_blocksize", s.nested_block);
  s.nested_offset = number_field(json, "nested_offset", 0);
  s.rows = json["shape"][0];
  s.columns = json["shape"][1];
  POM_REQUIRE(
      s.block > 0 && s.nested_block > 0 && s.rows > 0 && s.columns > 0 && s.rows < 1 << 30 && s.columns < 1 << 30,
      "its quant_state is {}", json.dump().substr(0, 200));
  return s;
}

Result<Quantised> four_bits(const std::string& name, const std::string& state_name, Taken& taken) {
  State state = POM_TRY(state_of(POM_TRY(taken.take(state_name, {-1}, DType::uint8))));
  std::int64_t count = state.rows * state.columns, blocks = (count + state.block - 1) / state.block;
  Quantised q;
  q.sizes = {state.rows, state.columns};
  // Blocks go on from row to row; a group of so many columns is always within one.
  q.group = std::gcd(state.columns, state.block);
  q.codes = DType::uint4;
  q.storage = fmt::format("bitsandbytes {} g{}", state.kind, state.block);
  Weight bytes = POM_TRY(taken.take(name, Sizes(taken.sizes(name).size(), -1), DType::uint8));
  POM_REQUIRE(std::int64_t(bytes.count()) == (count + 1) / 2, "'{}' has {} bytes for {} elements", name, bytes.count(),
              count);
  q.table.resize(16);
  Tensor table = POM_TRY(POM_TRY(taken.take(name + ".quant_map", {16}, DType::fp32)).materialise());
  for (std::size_t i = 0; i < 16; ++i) q.table[i] = table.view<float>()[i];
  q.sources = {bytes, POM_TRY(taken.take(name + ".absmax", {blocks}))};
  bool nested = q.sources[1].dtype() == DType::uint8;
  if (nested) {
    std::int64_t groups = (blocks + state.nested_block - 1) / state.nested_block;
    q.sources.push_back(POM_TRY(taken.take(name + ".nested_absmax", {groups}, DType::fp32)));
    q.sources.push_back(POM_TRY(taken.take(name + ".nested_quant_map", {256}, DType::fp32)));
  }
  std::size_t columns = q.columns(), groups = q.groups(), group = std::size_t(q.group),
              block = std::size_t(state.block);
  q.read_codes = [columns](std::span<const Tensor> in, std::size_t begin, std::size_t rows, std::uint8_t* codes) {
    for (std::size_t i = 0, at = begin * columns; i < rows * columns; ++i, ++at)
      codes[i] = at % 2 ? in[0].data()[at / 2] & 15 : in[0].data()[at / 2] >> 4;
  };
  q.read_scales = [=](std::span<const Tensor> in, std::size_t begin, std::size_t rows, float* scales, float*) {
    for (std::size_t i = 0; i < rows * groups; ++i) {
      std::size_t each = (begin * columns + i * group) / block;
      if (!nested) {
        scales[i] = number_of(in[1], each);
        continue;
      }
      float product =
          in[3].view<float>()[in[1].data()[each]] * in[2].view<float>()[each / std::size_t(state.nested_block)];
      scales[i] = product + float(state.nested_offset);
    }
  };
  return q;
}

// int8 with the largest magnitude of each row.
Result<Quantised> eight_bits(const std::string& module, Taken& taken) {
  Quantised q = POM_TRY(scaled(module + ".weight", module + ".SCB", "bitsandbytes", {}, taken));
  q.read_scales = [read = q.read_scales](std::span<const Tensor> in, std::size_t begin, std::size_t count,
                                         float* scales, float* offsets) {
    read(in, begin, count, scales, offsets);
    for (std::size_t i = 0; i < count; ++i) scales[i] /= 127;
  };
  return q;
}

}  // namespace

Status take_compressed_tensors(const Json& settings, RawTensors& raw, Checkpoint& checkpoint) {
  Taken taken(raw);
  drop_activation_scales(taken);
  for (const std::string& module : taken.modules(".weight_packed")) {
    taken.bytes = 0;
    auto read = [&]() -> Result<Ordered> {
      if (taken.has(module + ".weight_global_scale")) return Ordered{POM_TRY(nvfp4(module, taken)), {}};
      return packed(module, settings, taken);
    };
    Ordered result = POM_TRY_IN(read(), "module '{}'", module);
    finish(result.quantised, module);
    checkpoint.tensors[module + ".weight"] = tensor_in_order(result.quantised, result.columns, taken.bytes);
  }
  for (const std::string& module : taken.modules(".weight_scale")) {
    taken.bytes = 0;
    auto read = [&]() -> Result<Quantised> {
      POM_REQUIRE(taken.has(module + ".weight"), "it has a weight_scale, but no weight");
      Quantised q = POM_TRY(
          scaled(module + ".weight", module + ".weight_scale", "compressed-tensors", block_size_of(settings), taken));
      bool zeros = taken.has(module + ".weight_zero_point");
      if (zeros && q.table.empty()) POM_TRY(add_zero_points(module + ".weight_zero_point", q, taken));
      if (zeros && !q.table.empty()) taken.drop(module + ".weight_zero_point");
      return q;
    };
    Quantised q = POM_TRY_IN(read(), "module '{}'", module);
    finish(q, module);
    checkpoint.tensors[module + ".weight"] = tensor_of(q, taken.bytes);
  }
  return {};
}

Status take_fp8(const Json& settings, RawTensors& raw, Checkpoint& checkpoint) {
  Taken taken(raw);
  drop_activation_scales(taken);
  for (const char* suffix : {".weight_scale_inv", ".weight_scale"})
    for (const std::string& module : taken.modules(suffix)) {
      taken.bytes = 0;
      POM_REQUIRE(taken.has(module + ".weight"), "module '{}' has scales, but no weight", module);
      Quantised q = POM_TRY_IN(scaled(module + ".weight", module + suffix, "fp8", block_size_of(settings), taken),
                               "module '{}'", module);
      finish(q, module);
      checkpoint.tensors[module + ".weight"] = tensor_of(q, taken.bytes);
    }
  return {};
}

Status take_bitsandbytes(const Json&, RawTensors& raw, Checkpoint& checkpoint) {
  Taken taken(raw);
  for (const char* kind : {"nf4", "fp4"}) {
    std::string suffix = std::string(".quant_state.bitsandbytes__") + kind;
    for (const std::string& name : taken.modules(suffix)) {
      taken.bytes = 0;
      Quantised q = POM_TRY_IN(four_bits(name, name + suffix, taken), "tensor '{}'", name);
      finish(q, name);
      checkpoint.tensors[name] = tensor_of(q, taken.bytes);
    }
  }
  for (const std::string& module : taken.modules(".SCB")) {
    taken.bytes = 0;
    POM_REQUIRE(taken.has(module + ".weight"), "module '{}' has scales, but no weight", module);
    Quantised q = POM_TRY_IN(eight_bits(module, taken), "module '{}'", module);
    finish(q, module);
    checkpoint.tensors[module + ".weight"] = tensor_of(q, taken.bytes);
    if (taken.has(module + ".weight_format")) taken.drop(module + ".weight_format");
  }
  return {};
}

}  // namespace pomona::llm
