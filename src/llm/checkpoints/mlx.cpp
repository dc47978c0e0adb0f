#include <cmath>

#include <nlohmann/json.hpp>
#include "base/bits.h"
#include "base/half.h"
#include "llm/checkpoints/fields.h"
#include "llm/checkpoints/taken.h"

namespace pomona::llm {
namespace {

using Json = nlohmann::json;

// How MLX quantised a module: the settings of all, or its own.
struct Mode {
  std::string name = "affine";
  std::int64_t group = 64;
};
Result<Mode> mode_of(const Json& settings, const std::string& module) {
  const Json* own = settings.contains(module) && settings[module].is_object() ? &settings[module] : &settings;
  Mode mode;
  mode.name = text_field(*own, "mode", text_field(settings, "mode", "affine"));
  mode.group = integer_field(*own, "group_size", integer_field(settings, "group_size", 64));
  POM_REQUIRE(mode.group > 0 && mode.group <= 1 << 20, "its group_size is {}", mode.group);
  return mode;
}

// Doubled, so that they are whole numbers.
constexpr std::int8_t e2m1_doubled[] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

// The rows of all leading axes: bytes per row of packed codes, and their bits.
struct Layout {
  std::size_t row_bytes;
  unsigned bits;
};

void read_stream(const Layout& layout, const Tensor& words, std::size_t begin, std::size_t count, std::size_t columns,
                 std::uint8_t* codes) {
  for (std::size_t r = 0; r < count; ++r)
    unpack_bits({words.data() + (begin + r) * layout.row_bytes, layout.row_bytes}, layout.bits,
                {codes + r * columns, columns});
}

Result<Layout> layout_of(const Sizes& words, std::int64_t columns) {
  std::int64_t bits = words.back() * 32 / columns;
  POM_REQUIRE(bits >= 1 && bits <= 8 && bits * columns == words.back() * 32, "rows of {} words do not hold {} columns",
              words.back(), columns);
  return Layout{std::size_t(words.back()) * 4, unsigned(bits)};
}

Result<Quantised> affine(const std::string& module, const Mode& mode, Taken& taken) {
  Sizes words = taken.sizes(module + ".weight"), groups = taken.sizes(module + ".scales");
  POM_REQUIRE(words.size() >= 2 && groups.size() == words.size(), "its sizes are {} and {}", to_string(words),
              to_string(groups));
  Quantised q;
  q.sizes = words;
  POM_REQUIRE(groups.back() > 0 && groups.back() < 1ll << 40, "it has {} scales per row", groups.back());
  q.sizes.back() = groups.back() * mode.group;
  Layout layout = POM_TRY(layout_of(words, q.sizes.back()));
  groups = words;
  groups.back() = q.sizes.back() / mode.group;
  q.group = mode.group;
  q.codes = layout.bits <= 4 ? DType::uint4 : DType::uint8;
  if (layout.bits <= 2) q.values = {0, 1, 2, 3};
  q.offset = Offset::shift;
  q.storage = fmt::format("MLX {}-bit g{}", layout.bits, mode.group);
  q.sources = {POM_TRY(taken.take(module + ".weight", words, DType::uint32)),
               POM_TRY(taken.take(module + ".scales", groups)), POM_TRY(taken.take(module + ".biases", groups))};
  std::size_t columns = q.columns(), per_row = q.groups();
  q.read_codes = [layout, columns](std::span<const Tensor> in, std::size_t begin, std::size_t count,
                                   std::uint8_t* codes) { read_stream(layout, in[0], begin, count, columns, codes); };
  q.read_scales = [per_row](std::span<const Tensor> in, std::size_t begin, std::size_t count, float* scales,
                            float* offsets) {
    for (std::size_t i = 0; i < count * per_row; ++i) {
      scales[i] = number_of(in[1], begin * per_row + i);
      if (offsets) offsets[i] = number_of(in[2], begin * per_row + i);
    }
  };
  return q;
}

// mxfp4, mxfp8: a power of two for each 32; nvfp4: an E4M3 number for each 16.
Result<Quantised> floating(const std::string& module, const Mode& mode, Taken& taken) {
  bool nv = mode.name == "nvfp4", wide = mode.name == "mxfp8";
  POM_REQUIRE(nv || wide || mode.name == "mxfp4", "its mode '{}' is not known", mode.name);
  Sizes words = taken.sizes(module + ".weight");
  POM_REQUIRE(words.size() >= 2, "its sizes are {}", to_string(words));
  Quantised q;
  q.sizes = words;
  q.sizes.back() = words.back() * (wide ? 4 : 8);
  q.group = nv ? 16 : 32;
  POM_REQUIRE(q.sizes.back() % q.group == 0, "its rows of {} do not divide into groups of {}", q.sizes.back(), q.group);
  Sizes groups = q.sizes;
  groups.back() /= q.group;
  q.storage = "MLX " + mode.name;
  q.codes = wide ? DType::uint8 : DType::int8;
  if (wide)
    for (unsigned i = 0; i < 256; ++i) q.table.push_back(e4m3fn_to_float(std::uint8_t(i)));
  q.sources = {POM_TRY(taken.take(module + ".weight", words, DType::uint32)),
               POM_TRY(taken.take(module + ".scales", groups, DType::uint8))};
  Layout layout{std::size_t(words.back()) * 4, wide ? 8u : 4u};
  std::size_t columns = q.columns(), per_row = q.groups();
  q.read_codes = [layout, columns, wide](std::span<const Tensor> in, std::size_t begin, std::size_t count,
                                         std::uint8_t* codes) {
    read_stream(layout, in[0], begin, count, columns, codes);
    for (std::size_t i = 0; !wide && i < count * columns; ++i) codes[i] = std::uint8_t(e2m1_doubled[codes[i]]);
  };
  q.read_scales = [per_row, nv, wide](std::span<const Tensor> in, std::size_t begin, std::size_t count, float* scales,
                                      float*) {
    for (std::size_t i = 0; i < count * per_row; ++i) {
      std::uint8_t code = in[1].data()[begin * per_row + i];
      float scale = nv ? e4m3fn_to_float(code) : std::ldexp(1.0f, int(code) - 127);
      scales[i] = wide ? scale : scale * 0.5f;
    }
  };
  return q;
}

// MLX stacks the experts of a layer and calls them otherwise.
struct Stacked {
  std::string_view mlx, name;
};
constexpr Stacked mixtral[] = {{"gate_proj", "w1"}, {"down_proj", "w2"}, {"up_proj", "w3"}};

std::string expert_name(const std::string& module, std::int64_t expert) {
  constexpr std::string_view marker = ".switch_mlp.";
  std::size_t at = module.find(marker);
  std::string projection = module.substr(at + marker.size()), before = module.substr(0, at);
  if (before.ends_with("block_sparse_moe"))
    for (const Stacked& each : mixtral)
      if (each.mlx == projection) projection = each.name;
  return fmt::format("{}.experts.{}.{}.weight", before, expert, projection);
}

// One of the matrices that a stack of them holds.
Quantised part_of(const Quantised& q, std::size_t index) {
  Quantised part = q;
  part.sizes.erase(part.sizes.begin());
  part.what = fmt::format("part {} of {}", index, q.what);
  std::size_t first = index * part.rows();
  part.read_codes = [read = q.read_codes, first](std::span<const Tensor> in, std::size_t begin, std::size_t count,
                                                 std::uint8_t* codes) { read(in, first + begin, count, codes); };
  part.read_scales = [read = q.read_scales, first](std::span<const Tensor> in, std::size_t begin, std::size_t count,
                                                   float* scales,
                                                   float* offsets) { read(in, first + begin, count, scales, offsets); };
  return part;
}

}  // namespace

Status take_mlx(const Json& settings, RawTensors& raw, Checkpoint& checkpoint) {
  checkpoint.format = "mlx";
  Taken taken(raw);
  for (const std::string& module : taken.modules(".scales")) {
    if (!taken.has(module + ".weight")) continue;
    auto read = [&]() -> Result<Quantised> {
      Mode mode = POM_TRY(mode_of(settings, module));
      return taken.has(module + ".biases") ? affine(module, mode, taken) : floating(module, mode, taken);
    };
    taken.bytes = 0;
    Quantised q = POM_TRY_IN(read(), "module '{}'", module);
    q.what = fmt::format("{} {} of '{}'", q.storage, to_string(q.sizes), module);
    if (q.sizes.size() == 3 && module.find(".switch_mlp.") != module.npos) {
      for (std::int64_t e = 0; e < q.sizes[0]; ++e)
        checkpoint.tensors[expert_name(module, e)] =
            tensor_of(part_of(q, std::size_t(e)), taken.bytes / std::uint64_t(q.sizes[0]));
      continue;
    }
    checkpoint.tensors[module + ".weight"] = tensor_of(q, taken.bytes);
  }
  return {};
}

}  // namespace pomona::llm
