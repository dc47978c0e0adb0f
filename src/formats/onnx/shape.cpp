#include "ops/shape.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "formats/onnx/open_axis.h"
#include "ops/elementwise_binary.h"
#include "ops/elementwise_unary.h"
#include "ops/gather_scatter.h"
#include "ops/tensor_operation.h"

// Operators that move elements: shapes, slices, concatenation, padding.
namespace pomona::onnx {
namespace {

struct Identity {
  ONNX_IN(input, .sequence = true);
  Status lower(Lowering& g) const { return g.give(input.entry()); }
};

struct Reshape {
  ONNX_IN(data);
  ONNX_IN(shape);
  ONNX_ATTR(allowzero, bool, .since = 14) = false;
  Status lower(Lowering& g) const {
    POM_REQUIRE(shape.rank() == 1, "shape has rank {}, not 1", shape.rank());
    auto contents = shape.contents();
    if (!contents) return lower_computed(g);
    bool zero = false;
    Shape wanted = *contents;
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      if (!(wanted[i] == 0)) continue;
      zero = true;
      if (allowzero) continue;
      POM_REQUIRE(i < data.rank(), "shape copies dim {}, which the input does not have", i);
      wanted[i] = data.shape()[i];
    }
    if (!zero) return g.result(g.reshape(data, *shape), data.elem());
    if (std::find(wanted.begin(), wanted.end(), Dim(-1)) == wanted.end())
      return g.result(g.reshape(data, wanted), data.elem());
    // -1 beside copied dims: known parts as numbers, the rest from the shapes at hand.
    Dim rest = 1;
    for (Dim d : wanted)
      if (!(d == -1)) rest = rest * d;
    auto left = rest == 0 ? std::nullopt : exact_div(element_count(data.shape()), rest);
    if (left) {
      std::replace(wanted.begin(), wanted.end(), Dim(-1), *left);
      return g.result(g.reshape(data, wanted), data.elem());
    }
    return g.result(g.add(mil::reshape{.x = data, .shape = g.shape_value(wanted, {data})}), data.elem());
  }
  // A shape nothing is known of: 0 is replaced by the input's dim there, since MIL reads it another way. Where 0 means
  // a tensor without elements it stays: Core ML has none of these.
  Status lower_computed(Lowering& g) const {
    POM_REQUIRE(shape.shape()[0].known(), "not even the rank of the result is known before the model runs");
    POM_REQUIRE(!allowzero || !(element_count(data.shape()) == 0), "the shape is not known before the model runs");
    if (allowzero) return g.result(g.reshape(data, *shape), data.elem());
    std::int64_t wanted = shape.shape()[0].value(), rank = std::int64_t(data.rank());
    Value own = g.shape_of(data);
    if (wanted < rank) own = g.slice(own, 0, 0, wanted);
    if (wanted > rank) own = g.concat({own, g.ints(Ints(std::size_t(wanted - rank), 1))}, 0);
    Value copied = g.add(mil::equal{.x = shape, .y = g.integer(0)});
    return g.result(g.reshape(data, g.select(copied, own, shape)), data.elem());
  }
};

struct Flatten {
  ONNX_IN(input);
  ONNX_ATTR(axis, int) = 1;
  Status lower(Lowering& g) const {
    int rank = int(input.rank()), at = *axis < 0 ? *axis + rank : *axis;
    POM_REQUIRE(at >= 0 && at <= rank, "axis {} is outside a tensor of rank {}", *axis, rank);
    Dim before = 1, after = 1;
    for (int i = 0; i < rank; ++i)
      (i < at ? before : after) = (i < at ? before : after) * input.shape()[std::size_t(i)];
    if (before.known() || after.known() || rank == 0) return g.result(g.reshape(input, Shape{before, after}));
    return g.result(g.add(mil::flatten2d{.x = input, .axis = at}));
  }
};

struct Transpose {
  ONNX_IN(data);
  ONNX_ATTR(perm, Ints);
  Status lower(Lowering& g) const {
    Ints order = perm;
    if (order.empty())
      for (std::size_t i = data.rank(); i-- > 0;) order.push_back(std::int64_t(i));
    POM_REQUIRE(order.size() == data.rank(), "perm has {} entries for rank {}", order.size(), data.rank());
    return g.result(g.transpose(data, order), data.elem());
  }
};

Result<Ints> axes_of(Lowering& g, const InputField& input, const std::optional<Ints>& attribute) {
  if (input) return g.constant_ints(input, "axes");
  return attribute.value_or(Ints{});
}

struct Squeeze {
  ONNX_IN(data);
  ONNX_OPTIONAL(axes_input, .since = 13);
  ONNX_ATTR(axes, std::optional<Ints>, .until = 13);
  Status lower(Lowering& g) const {
    Ints along = POM_TRY(axes_of(g, axes_input, axes));
    if (!axes_input && !axes->has_value()) {
      for (std::size_t i = 0; i < data.rank(); ++i) {
        if (data.shape()[i] == 1) along.push_back(std::int64_t(i));
        if (data.shape()[i].known()) continue;
        // A size that the inputs' values decide can be fixed by nobody.
        for (const std::string& name : data.shape()[i].symbols())
          POM_REQUIRE(!name.starts_with('?'),
                      "size '{}' depends on values, so that nobody knows whether it is 1; give the axes",
                      data.shape()[i].text());
        g.assume(
            fmt::format("size '{}' is taken for other than 1, and stays; --input can fix it", data.shape()[i].text()));
      }
    }
    for (std::int64_t& a : along) {
      a = std::int64_t(POM_TRY(g.axis(a, data.rank())));
      Dim d = data.shape()[std::size_t(a)];
      POM_REQUIRE(!d.known() || d == 1, "dim {} to squeeze has size {}", a, d.text());
    }
    if (along.empty()) return g.result(data, data.elem());
    return g.result(g.squeeze(data, along), data.elem());
  }
};

struct Unsqueeze {
  ONNX_IN(data);
  ONNX_OPTIONAL(axes_input, .since = 13);
  ONNX_ATTR(axes, std::optional<Ints>, .until = 13);
  Status lower(Lowering& g) const {
    Ints along = POM_TRY(axes_of(g, axes_input, axes));
    POM_REQUIRE(along.size() <= 32, "{} dims are added", along.size());
    for (std::int64_t& a : along) a = std::int64_t(POM_TRY(g.axis(a, data.rank() + along.size())));
    std::sort(along.begin(), along.end());
    POM_REQUIRE(std::adjacent_find(along.begin(), along.end()) == along.end(), "axes name an axis twice");
    return g.result(g.expand_dims(data, along), data.elem());
  }
};

struct ShapeOf {
  ONNX_IN(data);
  ONNX_ATTR(start, int, .since = 15) = 0;
  ONNX_ATTR(end, std::optional<int>, .since = 15);
  Status lower(Lowering& g) const {
    int rank = int(data.rank());
    auto bound = [&](int v) { return std::clamp(v < 0 ? v + rank : v, 0, rank); };
    int from = bound(start), to = bound(end->value_or(rank));
    if (from >= to) return g.result(g.constant(Tensor(DType::int32, {0})), Elem::int64);
    Value shape = g.shape_of(data);
    if (from != 0 || to != rank) shape = g.slice(shape, 0, from, to);
    return g.result(shape, Elem::int64);
  }
};

struct Size {
  ONNX_IN(data);
  Status lower(Lowering& g) const {
    Value size = g.integer(1);
    for (std::size_t i = 0; i < data.rank(); ++i) size = g.times(size, g.dim(data, i));
    return g.result(size, Elem::int64);
  }
};

struct Concat {
  ONNX_VARIADIC(inputs);
  ONNX_ATTR(axis, int, .required = true);
  Status lower(Lowering& g) const {
    POM_REQUIRE(inputs.size() > 0, "there is no input");
    std::size_t along = POM_TRY(g.axis(axis, inputs[0].rank()));
    Values parts;
    for (Value v : inputs.values()) {
      POM_REQUIRE(v.rank() == inputs[0].rank(), "inputs have the ranks {} and {}", inputs[0].rank(), v.rank());
      if (!(v.shape()[along] == 0)) parts.push_back(v);
    }
    if (parts.empty()) return g.result(inputs[0], inputs.entries[0].elem);
    if (parts.size() == 1) return g.result(parts[0], inputs.entries[0].elem);
    return g.result(g.concat(parts, int(along)), inputs.entries[0].elem);
  }
};

struct Split {
  ONNX_IN(input);
  ONNX_OPTIONAL(split_input, .since = 13);
  ONNX_ATTR(axis, int) = 0;
  ONNX_ATTR(split, Ints, .until = 13);
  ONNX_ATTR(num_outputs, std::optional<int>, .since = 18);
  Status lower(Lowering& g) const {
    std::size_t along = POM_TRY(g.axis(axis, input.rank()));
    Dim size = input.shape()[along];
    Ints sizes = split;
    if (split_input) sizes = POM_TRY(g.constant_ints(split_input, "split"));
    auto count = std::int64_t(num_outputs->value_or(int(g.output_count())));
    POM_REQUIRE(count > 0 && std::size_t(count) == g.output_count(), "there are {} outputs, but {} parts are wanted",
                g.output_count(), count);
    if (sizes.empty() && !size.known()) return lower_open(g, along, count);
    if (sizes.empty()) {
      // Equal parts; the last one may be smaller.
      std::int64_t part = (size.value() + count - 1) / count;
      for (std::int64_t i = 0, left = size.value(); i < count; ++i, left -= part)
        sizes.push_back(std::clamp<std::int64_t>(left, 0, part));
    }
    std::int64_t begin = 0;
    for (std::int64_t part : sizes) {
      POM_REQUIRE(part >= 0, "a part has the size {}", part);
      if (part == 0) {
        Shape shape = input.shape();
        shape[along] = 0;
        POM_REQUIRE(all_known(shape), "a part is empty");
        POM_TRY(g.result(g.constant(Tensor(input.dtype(), known_sizes(shape))), input.elem()));
      } else {
        POM_TRY(g.result(sizes.size() == 1 ? *input : g.slice(input, along, begin, begin + part), input.elem()));
      }
      begin += part;
    }
    POM_REQUIRE(!size.known() || begin == size.value(), "the parts add up to {}, but the size is {}", begin,
                size.text());
    return {};
  }
  // Equal parts of a size that is known when the model runs.
  Status lower_open(Lowering& g, std::size_t along, std::int64_t count) const {
    Value size = g.dim(input, along);
    Value part = g.add(mil::floor_div{.x = g.plus(size, double(count - 1)), .y = g.integer(count)});
    for (std::int64_t i = 0; i < count; ++i) {
      Value begin = g.times(part, double(i));
      Value end = i + 1 == count ? size : g.times(part, double(i + 1));
      POM_TRY(g.result(sliced(g, input, along, begin, end), input.elem()));
    }
    return {};
  }
};

// Bounds of one axis of Slice, as MIL wants them: an open bound is a mask.
struct Bounds {
  std::int64_t begin = 0, end = 0, step = 1;
  bool open_begin = true, open_end = true;
};
// ONNX clamps a start beyond the end; Python does so too, save that a negative index past the front stays negative.
Bounds bounds_of(std::int64_t begin, std::int64_t end, std::int64_t step) {
  Bounds b{begin, end, step, false, false};
  if (step > 0) {
    b.open_begin = begin == 0;
    b.open_end = end >= INT32_MAX;
    if (begin <= INT32_MIN + 1) b.open_begin = true;
  } else {
    b.open_begin = begin >= INT32_MAX;
    b.open_end = end <= INT32_MIN + 1;
  }
  return b;
}

struct Slice {
  ONNX_IN(data);
  ONNX_OPTIONAL(starts_input, .since = 10);
  ONNX_OPTIONAL(ends_input, .since = 10);
  ONNX_OPTIONAL(axes_input, .since = 10);
  ONNX_OPTIONAL(steps_input, .since = 10);
  ONNX_ATTR(starts, Ints, .until = 10);
  ONNX_ATTR(ends, Ints, .until = 10);
  ONNX_ATTR(axes, Ints, .until = 10);
  Status lower(Lowering& g) const {
    std::size_t rank = data.rank();
    if (g.opset() < 10) {
      POM_REQUIRE(starts->size() == ends->size(), "there are {} starts and {} ends", starts->size(), ends->size());
      return lower_known(g, starts, ends, axes, {});
    }
    POM_REQUIRE(starts_input && ends_input, "starts and ends are needed");
    POM_REQUIRE(starts_input.rank() == 1 && ends_input.rank() == 1, "starts and ends must have rank 1");
    Ints along, steps;
    if (axes_input) along = POM_TRY(g.constant_ints(axes_input, "axes"));
    if (steps_input) steps = POM_TRY(g.constant_ints(steps_input, "steps"));
    auto from = g.constant_ints(starts_input, "starts"), to = g.constant_ints(ends_input, "ends");
    if (from && to) return lower_known(g, *from, *to, along, steps);
    POM_REQUIRE(starts_input.shape()[0].known(), "the number of starts is not known before the model runs");
    auto count = std::size_t(starts_input.shape()[0].value());
    if (along.empty())
      for (std::size_t i = 0; i < count; ++i) along.push_back(std::int64_t(i));
    POM_REQUIRE(along.size() == count && (steps.empty() || steps.size() == count),
                "starts, axes and steps differ in length");
    return lower_computed(g, rank, along, steps, from ? &*from : nullptr, to ? &*to : nullptr);
  }
  Status lower_known(Lowering& g, const Ints& from, const Ints& to, Ints along, const Ints& steps) const {
    std::size_t rank = data.rank();
    if (along.empty())
      for (std::size_t i = 0; i < from.size(); ++i) along.push_back(std::int64_t(i));
    POM_REQUIRE(
        from.size() == to.size() && along.size() == from.size() && (steps.empty() || steps.size() == from.size()),
        "starts, ends, axes and steps differ in length");
    Ints begin(rank, 0), end(rank, 0), stride(rank, 1), open_begin(rank, 1), open_end(rank, 1);
    std::set<std::size_t> seen;
    Shape shape = data.shape();
    bool empty = false;
    for (std::size_t i = 0; i < along.size(); ++i) {
      std::size_t a = POM_TRY(g.axis(along[i], rank));
      POM_REQUIRE(seen.insert(a).second, "axes name axis {} twice", a);
      std::int64_t step = steps.empty() ? 1 : steps[i];
      POM_REQUIRE(step != 0, "a step is 0");
      Bounds b = bounds_of(from[i], to[i], step);
      if (shape[a].known()) {
        // Clamped here as ONNX says, so that no rule about bounds outside is relied on.
        std::int64_t size = shape[a].value(), first = from[i] < 0 ? from[i] + size : from[i];
        std::int64_t last = to[i] < 0 ? to[i] + size : to[i];
        first = step > 0 ? std::clamp<std::int64_t>(first, 0, size) : std::clamp<std::int64_t>(first, 0, size - 1);
        last = step > 0 ? std::clamp<std::int64_t>(last, 0, size) : std::clamp<std::int64_t>(last, -1, size);
        std::int64_t count = step > 0 ? (last - first + step - 1) / step : (first - last - step - 1) / -step;
        shape[a] = std::max<std::int64_t>(count, 0);
        empty = empty || count <= 0;
        b = {first, last, step, false, last < 0};
        if (first == 0 && step > 0) b.open_begin = true;
        if (last == size && step > 0) b.open_end = true;
      }
      begin[a] = b.begin;
      end[a] = b.open_end ? 0 : b.end;
      stride[a] = b.step;
      open_begin[a] = b.open_begin;
      open_end[a] = b.open_end;
    }
    if (empty) {
      POM_REQUIRE(all_known(shape), "the slice is empty");
      return g.result(g.constant(Tensor(data.dtype(), known_sizes(shape))), data.elem());
    }
    if (shape == data.shape() && all_known(shape) &&
        std::all_of(stride.begin(), stride.end(), [](auto s) { return s == 1; }))
      return g.result(data, data.elem());
    return g.result(slice(g, g.ints(begin), g.ints(end), stride, open_begin, open_end), data.elem());
  }
  Status lower_computed(Lowering& g, std::size_t rank, const Ints& along, const Ints& steps, const Ints* from,
                        const Ints* to) const {
    Ints stride(rank, 1), open_begin(rank, 1), open_end(rank, 1);
    Values begin(rank), end(rank);
    for (std::size_t i = 0; i < along.size(); ++i) {
      std::size_t a = POM_TRY(g.axis(along[i], rank));
      POM_REQUIRE(!begin[a], "axes name axis {} twice", a);
      if (!steps.empty()) stride[a] = steps[i];
      POM_REQUIRE(stride[a] > 0, "a step is {} while bounds are computed when the model runs", stride[a]);
      open_begin[a] = open_end[a] = 0;
      auto at = std::int64_t(i);
      begin[a] = g.slice(starts_input, 0, at, at + 1);
      end[a] = g.slice(ends_input, 0, at, at + 1);
      if (from && bounds_of((*from)[i], 0, stride[a]).open_begin) open_begin[a] = 1;
      if (to && bounds_of(0, (*to)[i], stride[a]).open_end) open_end[a] = 1;
    }
    Value zero = g.ints({0});
    for (std::size_t a = 0; a < rank; ++a) {
      if (!begin[a] || open_begin[a]) begin[a] = zero;
      if (!end[a] || open_end[a]) end[a] = zero;
    }
    return g.result(slice(g, g.concat(begin, 0), g.concat(end, 0), stride, open_begin, open_end), data.elem());
  }
  Value slice(Lowering& g, Value begin, Value end, const Ints& stride, const Ints& open_begin,
              const Ints& open_end) const {
    return g.add(mil::slice_by_index{
        .x = data, .begin = begin, .end = end, .stride = stride, .begin_mask = open_begin, .end_mask = open_end});
  }
};

struct Expand {
  ONNX_IN(input);
  ONNX_IN(shape);
  Status lower(Lowering& g) const {
    POM_REQUIRE(shape.rank() == 1, "shape has rank {}, not 1", shape.rank());
    return g.result(g.broadcast_to(input, *shape), input.elem());
  }
};

struct Tile {
  ONNX_IN(input);
  ONNX_IN(repeats);
  Status lower(Lowering& g) const {
    if (auto known = repeats.integers(); known && std::count(known->begin(), known->end(), 0)) {
      POM_REQUIRE(all_known(input.shape()) && known->size() == input.rank(), "the result is empty");
      Sizes sizes = known_sizes(input.shape());
      for (std::size_t i = 0; i < sizes.size(); ++i) sizes[i] *= (*known)[i];
      return g.result(g.constant(Tensor(input.dtype(), sizes)), input.elem());
    }
    return g.result(g.add(mil::tile{.x = input, .reps = repeats}), input.elem());
  }
};

struct DepthToSpace {
  ONNX_IN(input);
  ONNX_ATTR(blocksize, int, .required = true);
  ONNX_ATTR(mode, std::string, .since = 11) = "DCR";
  Status lower(Lowering& g) const {
    POM_REQUIRE(input.rank() == 4, "the input has rank {}, not 4", input.rank());
    POM_REQUIRE(*mode == "DCR" || *mode == "CRD", "mode is '{}', not DCR or CRD", *mode);
    Value x = is_float(input.dtype()) ? *input : g.cast(input, DType::fp32);
    Value y = *mode == "DCR" ? g.add(mil::depth_to_space{.x = x, .block_size = *blocksize})
                             : g.add(mil::pixel_shuffle{.x = x, .upscale_factor = *blocksize});
    POM_REQUIRE(is_float(input.dtype()) || is_narrow_integer(input.elem()), "integers are not supported");
    return g.result(g.cast(y, input.dtype()), input.elem());
  }
};

struct SpaceToDepth {
  ONNX_IN(input);
  ONNX_ATTR(blocksize, int, .required = true);
  ONNX_ATTR(mode, std::string, .since = 28) = "DCR";
  Status lower(Lowering& g) const {
    POM_REQUIRE(input.rank() == 4, "the input has rank {}, not 4", input.rank());
    POM_REQUIRE(*mode == "DCR" || *mode == "CRD", "mode is '{}', not DCR or CRD", *mode);
    POM_REQUIRE(is_float(input.dtype()), "integers are not supported");
    if (*mode == "CRD")
      return g.result(g.add(mil::pixel_unshuffle{.x = input, .downscale_factor = std::int64_t(*blocksize)}));
    return g.result(g.add(mil::space_to_depth{.x = input, .block_size = *blocksize}));
  }
};

struct ReverseSequence {
  ONNX_IN(input);
  ONNX_IN(sequence_lens);
  ONNX_ATTR(batch_axis, int) = 1;
  ONNX_ATTR(time_axis, int) = 0;
  Status lower(Lowering& g) const {
    return g.result(g.add(mil::reverse_sequence{
                        .x = input, .lengths = sequence_lens, .seq_axis = *time_axis, .batch_axis = *batch_axis}),
                    input.elem());
  }
};

struct Trilu {
  ONNX_IN(input);
  ONNX_OPTIONAL(k);
  ONNX_ATTR(upper, bool) = true;
  Status lower(Lowering& g) const {
    POM_REQUIRE(input.rank() >= 2, "the input has rank {}, but at least 2 is needed", input.rank());
    // Keeps column - row >= k (upper) or <= k (lower).
    std::size_t rank = input.rank();
    auto range = [&](std::size_t axis) {
      return g.add(mil::range_1d{.end = g.dim(input, axis), .start = g.integer(0), .step = g.integer(1)});
    };
    for (std::size_t i = rank - 2; i < rank; ++i)
      if (input.shape()[i] == 0) return g.result(input, input.elem());
    Value difference = g.minus(g.expand_dims(range(rank - 1), {0}), g.expand_dims(range(rank - 2), {1}));
    auto offset = k ? g.constant_number(k, "k") : Result<double>(0.0);
    Value limit =
        offset ? g.integer(std::int64_t(std::clamp(*offset, -2147483000.0, 2147483000.0))) : g.reshape(k, Shape{1});
    Value keep = upper ? g.add(mil::greater_equal{.x = difference, .y = limit})
                       : g.add(mil::less_equal{.x = difference, .y = limit});
    return g.result(g.select(keep, input, g.scalar(input.dtype(), 0)), input.elem());
  }
};

}  // namespace

Rules shape_chapter() {
  Rules rules = {
      rule<Concat>("Concat", 4),
      rule<DepthToSpace>("DepthToSpace"),
      rule<Expand>("Expand"),
      rule<Flatten>("Flatten"),
      rule<Identity>("Identity"),
      rule<Reshape>("Reshape", 5),
      rule<ReverseSequence>("ReverseSequence"),
      rule<ShapeOf>("Shape"),
      rule<Size>("Size"),
      rule<Slice>("Slice"),
      rule<SpaceToDepth>("SpaceToDepth"),
      rule<Split>("Split", 2),
      rule<Squeeze>("Squeeze"),
      rule<Tile>("Tile", 6),
      rule<Transpose>("Transpose"),
      rule<Trilu>("Trilu"),
      rule<Unsqueeze>("Unsqueeze"),
  };
  return rules;
}

}  // namespace pomona::onnx
