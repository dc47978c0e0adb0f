#include <algorithm>
#include <cmath>

#include "formats/onnx/open_axis.h"
#include "ops/elementwise_binary.h"
#include "ops/gather_scatter.h"
#include "ops/shape.h"
#include "ops/tensor_operation.h"

// Padding and cropping.
namespace pomona::onnx {
namespace {

// Which element of a dim of `size` stands at `place`, which may lie outside.
std::int64_t source_of_place(const std::string& mode, std::int64_t place, std::int64_t size) {
  if (mode == "edge") return std::clamp<std::int64_t>(place, 0, size - 1);
  if (mode == "wrap") return (place % size + size) % size;
  // reflect: the period is there and back, without the ends twice
  if (size == 1) return 0;
  std::int64_t period = 2 * (size - 1), at = (place % period + period) % period;
  return at < size ? at : period - at;
}

struct Pad {
  ONNX_IN(data);
  ONNX_OPTIONAL(pads_input, .since = 11);
  ONNX_OPTIONAL(constant_value, .since = 11);
  ONNX_OPTIONAL(axes, .since = 18);
  ONNX_ATTR(mode, std::string) = "constant";
  ONNX_ATTR(pads, Ints, .until = 11);
  ONNX_ATTR(value, float, .until = 11) = 0.0f;

  Status lower(Lowering& g) const {
    std::size_t rank = data.rank();
    POM_REQUIRE(*mode == "constant" || *mode == "reflect" || *mode == "edge" || *mode == "wrap", "mode is '{}'", *mode);
    Ints given = pads;
    if (g.opset() >= 11) {
      POM_REQUIRE(pads_input && pads_input.rank() == 1, "pads must be a vector");
      auto known = g.constant_ints(pads_input, "pads");
      if (!known) return lower_computed(g);
      given = *known;
    }
    Ints along;
    if (axes) along = POM_TRY(g.constant_ints(axes, "axes"));
    if (!axes)
      for (std::size_t i = 0; i < rank; ++i) along.push_back(std::int64_t(i));
    POM_REQUIRE(given.size() == 2 * along.size(), "there are {} pads for {} axes", given.size(), along.size());
    Ints before(rank, 0), after(rank, 0);
    for (std::size_t i = 0; i < along.size(); ++i) {
      std::size_t a = POM_TRY(g.axis(along[i], rank));
      before[a] = given[i];
      after[a] = given[along.size() + i];
      for (std::int64_t p : {before[a], after[a]}) POM_REQUIRE(p > -(1 << 28) && p < (1 << 28), "a pad is {}", p);
    }
    Value x = POM_TRY(cropped(g, before, after));
    if (std::all_of(before.begin(), before.end(), [](auto p) { return p == 0; }) &&
        std::all_of(after.begin(), after.end(), [](auto p) { return p == 0; }))
      return g.result(x, data.elem());
    return *mode == "constant" ? lower_constant(g, x, before, after) : lower_mirrored(g, x, before, after);
  }

  // Negative pads take away; they become 0.
  Result<Value> cropped(Lowering& g, Ints& before, Ints& after) const {
    Value x = data;
    for (std::size_t i = 0; i < before.size(); ++i) {
      if (before[i] >= 0 && after[i] >= 0) continue;
      std::int64_t begin = std::max<std::int64_t>(-before[i], 0);
      std::int64_t end = after[i] < 0 ? after[i] : INT32_MAX;
      Dim size = data.shape()[i];
      POM_REQUIRE(!size.known() || begin + std::max<std::int64_t>(-after[i], 0) < size.value(),
                  "padding leaves nothing of dim {}", i);
      if (end == INT32_MAX && size.known()) end = size.value();
      x = g.slice(x, i, begin, end);
      before[i] = std::max<std::int64_t>(before[i], 0);
      after[i] = std::max<std::int64_t>(after[i], 0);
    }
    return x;
  }

  Status lower_constant(Lowering& g, Value x, const Ints& before, const Ints& after) const {
    std::optional<double> number = constant_value ? constant_value.number() : std::optional<double>(*value);
    if (is_float(x.dtype()) && number) {
      Ints pad;
      for (std::size_t i = 0; i < before.size(); ++i) pad.insert(pad.end(), {before[i], after[i]});
      return g.result(g.add(mil::pad{.x = x, .pad = g.ints(pad), .mode = "constant", .constant_val = *number}),
                      data.elem());
    }
    // MIL pads floats with a fixed number only; everything else is put together.
    Value fill = constant_value ? g.reshape(constant_value, Shape{}) : g.scalar(x.dtype(), *value);
    for (std::size_t i = 0; i < before.size() && x; ++i) {
      if (before[i] == 0 && after[i] == 0) continue;
      auto block = [&](std::int64_t size) {
        Shape shape = x.shape();
        shape[i] = size;
        return number ? g.filled(shape, {x}, x.dtype(), *number) : g.broadcast_to(fill, shape, {x});
      };
      Values parts;
      if (before[i]) parts.push_back(block(before[i]));
      parts.push_back(x);
      if (after[i]) parts.push_back(block(after[i]));
      x = g.concat(parts, int(i));
    }
    return g.result(x, data.elem());
  }

  Status lower_mirrored(Lowering& g, Value x, const Ints& before, const Ints& after) const {
    std::size_t rank = before.size(), first = 0;
    while (first < rank && before[first] == 0 && after[first] == 0) ++first;
    bool simple = is_float(x.dtype()) && *mode != "wrap" && first + 2 >= rank;
    for (std::size_t i = first; i < rank && *mode == "reflect"; ++i) {
      Dim size = x.shape()[i];
      simple = simple && (!size.known() || std::max(before[i], after[i]) < size.value());
    }
    if (simple) {
      Ints pad;
      for (std::size_t i = first; i < rank; ++i) pad.insert(pad.end(), {before[i], after[i]});
      return g.result(g.add(mil::pad{.x = x, .pad = g.ints(pad), .mode = *mode == "edge" ? "replicate" : "reflect"}),
                      data.elem());
    }
    for (std::size_t i = first; i < rank; ++i) {
      if (before[i] == 0 && after[i] == 0) continue;
      Dim size = x.shape()[i];
      if (!size.known()) {
        x = taken(g, x, source_places(g, g.dim(x, i), before[i], after[i]), i);
        if (!x) return g.status();
        continue;
      }
      POM_REQUIRE(size.value() > 0 && size.value() + before[i] + after[i] < (1 << 24),
                  "{} padding of dim {} of {} by {} and {} is not supported", *mode, i, size.value(), before[i],
                  after[i]);
      Ints places;
      for (std::int64_t at = -before[i]; at < size.value() + after[i]; ++at)
        places.push_back(source_of_place(mode, at, size.value()));
      x = g.through_numbers(
          x, [&](Value v) { return g.add(mil::gather{.x = v, .indices = g.ints(places), .axis = int(i)}); });
      if (!x) return g.status();
    }
    return g.result(x, data.elem());
  }

  // The same as source_of_place, for a size that is known when the model runs.
  Value source_places(Lowering& g, Value size, std::int64_t before, std::int64_t after) const {
    Value places = count_up(g, g.integer(-before), g.plus(size, double(after)));
    Value last = g.minus(size, 1);
    if (*mode == "edge")
      return g.add(mil::maximum{.x = g.add(mil::minimum{.x = places, .y = last}), .y = g.integer(0)});
    if (*mode == "wrap") return g.add(mil::mod{.x = places, .y = size});
    // One element is its own mirror.
    Value period = g.add(mil::maximum{.x = g.times(last, 2), .y = g.integer(1)});
    Value at = g.add(mil::mod{.x = places, .y = period});
    return g.add(mil::minimum{.x = at, .y = g.minus(period, at)});
  }

  // Amounts that are only known when the model runs.
  Status lower_computed(Lowering& g) const {
    auto rank = std::int64_t(data.rank());
    Ints along;
    if (axes)
      for (std::int64_t a : POM_TRY(g.constant_ints(axes, "axes")))
        along.push_back(std::int64_t(POM_TRY(g.axis(a, data.rank()))));
    else
      for (std::int64_t a = 0; a < rank; ++a) along.push_back(a);
    auto count = std::int64_t(along.size());
    POM_REQUIRE(*mode != "wrap" && pads_input.shape()[0] == 2 * count,
                "pads must be known before the model runs; here they are computed from the inputs");
    double number = 0;
    if (constant_value) number = POM_TRY(g.constant_number(constant_value, "constant_value"));
    // Pairs axis by axis; a nought behind the amounts is what axes that are not named get.
    Ints places(std::size_t(2 * rank), 2 * count);
    for (std::size_t i = 0; i < along.size(); ++i) {
      places[2 * std::size_t(along[i])] = std::int64_t(i);
      places[2 * std::size_t(along[i]) + 1] = std::int64_t(i) + count;
    }
    Value amounts = g.concat({pads_input, g.ints({0})}, 0);
    Value pad = g.add(mil::gather{.x = amounts, .indices = g.ints(places), .axis = 0});
    std::string named = *mode == "edge" ? "replicate" : *mode;
    auto padded = [&](Value x, double by) {
      return g.add(mil::pad{.x = x, .pad = pad, .mode = named, .constant_val = by});
    };
    if (is_float(data.dtype())) return g.result(padded(data, number), data.elem());
    if (data.dtype() == DType::boolean)
      return g.result(g.cast(padded(g.cast(data, DType::fp32), number), DType::boolean), data.elem());
    // The op takes floats only; in two parts every integer is one.
    constexpr double part = 4096;
    Value high = g.add(mil::floor_div{.x = data, .y = g.integer(std::int64_t(part))});
    Value low = g.minus(data, g.times(high, part));
    double above = std::floor(number / part);
    auto whole = [&](Value x, double by) { return g.cast(padded(g.cast(x, DType::fp32), by), DType::int32); };
    return g.result(g.plus(g.times(whole(high, above), part), whole(low, number - above * part)), data.elem());
  }
};

struct CenterCropPad {
  ONNX_IN(input_data);
  ONNX_IN(shape);
  ONNX_ATTR(axes, std::optional<Ints>);
  Status lower(Lowering& g) const {
    Ints wanted = POM_TRY(g.constant_ints(shape, "shape")), along = axes->value_or(Ints{});
    std::size_t rank = input_data.rank();
    if (!axes->has_value())
      for (std::size_t i = 0; i < rank; ++i) along.push_back(std::int64_t(i));
    POM_REQUIRE(wanted.size() == along.size(), "shape has {} entries for {} axes", wanted.size(), along.size());
    Value x = input_data;
    for (std::size_t k = 0; k < along.size(); ++k) {
      std::size_t a = POM_TRY(g.axis(along[k], rank));
      Dim size = input_data.shape()[a];
      POM_REQUIRE(wanted[k] > 0 && wanted[k] < (1 << 28), "dim {} goes from {} to {}", a, size.text(), wanted[k]);
      if (!size.known()) {
        x = fitted(g, x, a, wanted[k]);
        continue;
      }
      std::int64_t have = size.value(), want = wanted[k];
      if (have > want) x = g.slice(x, a, (have - want) / 2, (have - want) / 2 + want);
      if (have >= want || !x) continue;
      auto zeros = [&](std::int64_t count) {
        Shape block = x.shape();
        block[a] = count;
        return g.filled(block, {x}, x.dtype(), 0);
      };
      std::int64_t before = (want - have) / 2, after = want - have - before;
      Values parts;
      if (before) parts.push_back(zeros(before));
      parts.push_back(x);
      parts.push_back(zeros(after));
      x = g.concat(parts, int(a));
    }
    return g.result(x, input_data.elem());
  }
  // Of an open size: each place shows what lies there once the middles are laid upon each other, or 0.
  static Value fitted(Lowering& g, Value x, std::size_t axis, std::int64_t want) {
    auto half_of_excess = [&](Value a, Value b) {
      Value excess = g.add(mil::maximum{.x = g.minus(a, b), .y = g.integer(0)});
      return g.add(mil::floor_div{.x = excess, .y = g.integer(2)});
    };
    Value have = g.dim(x, axis), wanted = g.integer(want);
    Value shift = g.minus(half_of_excess(have, wanted), half_of_excess(wanted, have));
    Value places = g.plus(count_up(g, wanted), shift), zero = g.integer(0);
    Value inside = g.add(mil::logical_and{.x = g.add(mil::greater_equal{.x = places, .y = zero}),
                                          .y = g.add(mil::less{.x = places, .y = have})});
    Value safe = g.add(mil::maximum{.x = g.add(mil::minimum{.x = places, .y = g.minus(have, 1)}), .y = zero});
    Ints others;
    for (std::size_t i = 0; i < x.rank(); ++i)
      if (i != axis) others.push_back(std::int64_t(i));
    Value mask = g.expand_dims(inside, others), all = taken(g, x, safe, axis);
    if (!all) return {};
    if (all.dtype() == DType::boolean) return g.add(mil::logical_and{.x = all, .y = mask});
    return g.select(mask, all, g.number(all, 0));
  }
};

}  // namespace

Rules padding_chapter() {
  return {
      rule<CenterCropPad>("CenterCropPad"),
      rule<Pad>("Pad", 2),
  };
}

}  // namespace pomona::onnx
