#include <algorithm>
#include <cmath>
#include <map>

#include "formats/onnx/lowering.h"
#include "ops/elementwise_binary.h"
#include "ops/elementwise_unary.h"
#include "ops/gather_scatter.h"
#include "ops/nms.h"
#include "ops/reduction.h"
#include "ops/shape.h"
#include "ops/tensor_operation.h"

// Operators that choose elements by what they hold, so that the size of the result depends on the data.
namespace pomona::onnx {
namespace {

Value constant_of(Lowering& g, DType dtype, const Sizes& sizes, const std::vector<double>& numbers) {
  return g.constant(Tensor::from_numbers(dtype, sizes, numbers));
}

Value range(Lowering& g, Value end) {
  return g.add(mil::range_1d{.end = end, .start = g.integer(0), .step = g.integer(1)});
}

// MIL's op makes a place for every box it may keep: so many, where nobody says how many boxes there are.
constexpr int most_of_open = 1 << 14;

// MIL's op works on each image of a batch by itself; here each class of each image is one.
struct NonMaxSuppression {
  ONNX_IN(boxes);
  ONNX_IN(scores);
  ONNX_OPTIONAL(max_output_boxes_per_class);
  ONNX_OPTIONAL(iou_threshold);
  ONNX_OPTIONAL(score_threshold);
  ONNX_ATTR(center_point_box, bool) = false;
  Status lower(Lowering& g) const {
    POM_REQUIRE(boxes.rank() == 3 && scores.rank() == 3, "boxes and scores have the ranks {} and {}", boxes.rank(),
                scores.rank());
    POM_REQUIRE(g.target() >= Target::iOS17, "this operator needs iOS17 or later");
    double most = 0, overlap = 0;
    if (max_output_boxes_per_class)
      most = POM_TRY(g.constant_number(max_output_boxes_per_class, "max_output_boxes_per_class"));
    if (iou_threshold) overlap = POM_TRY(g.constant_number(iou_threshold, "iou_threshold"));
    if (most <= 0) return g.result(g.constant(Tensor(DType::int32, {0, 3})), Elem::int64);
    Dim batch = scores.shape()[0], classes = scores.shape()[1], count = scores.shape()[2];
    if (count.known()) most = std::min(most, double(count.value()));
    if (!count.known() && most > most_of_open) {
      most = most_of_open;
      g.assume(fmt::format("a NonMaxSuppression keeps {} boxes of a class at most", most_of_open));
    }
    // [N, 4, B] for every class, [N * C, 4, B]; scores [N * C, 1, B]
    Value corners = g.transpose(g.cast(boxes, DType::fp32), {0, 2, 1});
    Value centred = center_point_box ? corners : centres(g, corners);
    Value c = g.dim(scores, 1), b = g.dim(scores, 2), one = g.ints({1});
    auto line = [&](Value v) { return g.reshape(v, Shape{1}); };
    centred = g.add(mil::tile{.x = g.expand_dims(centred, {1}), .reps = g.concat({one, line(c), one, one}, 0)});
    if (classes.known()) {
      centred = g.reshape(centred, Shape{batch * classes, 4, count});
    } else {
      centred = g.reshape(centred, g.concat({g.ints({-1}), g.ints({4}), line(b)}, 0));
    }
    Value score = g.cast(scores, DType::fp32);
    score = classes.known() ? g.reshape(score, Shape{batch * classes, 1, count})
                            : g.reshape(score, g.concat({g.ints({-1}), one, line(b)}, 0));
    Values kept = g.add_all(mil::non_maximum_suppression{
        .boxes = centred, .scores = score, .iou_threshold = overlap, .max_boxes = int(most)});
    if (kept.size() != 3) return g.status();
    Value valid = g.add(mil::greater_equal{.x = kept[2], .y = g.integer(0)});
    if (score_threshold) {
      Value bar = g.cast(g.reshape(score_threshold, Shape{}), DType::fp32);
      Value above = g.add(mil::greater{.x = g.squeeze(kept[1], {1}), .y = bar});
      valid = g.add(mil::logical_and{.x = valid, .y = above});
    }
    Value places = g.add(mil::non_zero{.x = g.cast(valid, DType::int32)});
    Value box = g.expand_dims(g.add(mil::gather_nd{.x = kept[2], .indices = places}), {1});
    Value row = g.slice(places, 1, 0, 1);
    Value image = g.add(mil::floor_div{.x = row, .y = c});
    return g.result(g.concat({image, g.minus(row, g.times(image, c)), box}, 1), Elem::int64);
  }
  // Opposite corners, in any order, to centre and size.
  static Value centres(Lowering& g, Value corners) {
    auto side = [&](int i) { return g.slice(corners, 1, i, i + 1); };
    auto middle = [&](int i) { return g.times(g.plus(side(i), side(i + 2)), 0.5); };
    auto size = [&](int i) { return g.add(mil::abs{.x = g.minus(side(i + 2), side(i))}); };
    return g.concat({middle(1), middle(0), size(1), size(0)}, 1);
  }
};

// Slices are compared pair by pair: exact for every dtype, and quadratic in their number.
struct Unique {
  ONNX_IN(X);
  ONNX_ATTR(axis, std::optional<int>);
  ONNX_ATTR(sorted, bool) = true;
  Status lower(Lowering& g) const {
    POM_REQUIRE(X.dtype() != DType::string, "strings are not supported");
    Value numbers = X.dtype() == DType::boolean ? g.cast(X, DType::int32) : *X;
    Value rows = numbers, moved;
    std::size_t along = 0;
    if (axis->has_value()) {
      along = POM_TRY(g.axis(**axis, X.rank()));
      moved = g.transpose(numbers, to_front(X.rank(), along));
      if (!moved) return g.status();
      auto rest = exact_div(element_count(moved.shape()), moved.shape()[0]);
      POM_REQUIRE(rest, "the sizes of the slices are not known");
      rows = g.reshape(moved, Shape{moved.shape()[0], *rest});
    } else {
      rows = g.reshape(numbers, Shape{element_count(X.shape()), 1});
    }
    if (!rows) return g.status();
    POM_REQUIRE(!rows.shape()[0].known() || rows.shape()[0].value() <= 8192,
                "{} slices are too many to be compared with each other", rows.shape()[0].text());
    Dim count = rows.shape()[0];
    // -1, 0, 1: how row i compares with row j, by the first column in which they differ.
    Value difference = g.add(mil::sign{.x = compared(g, g.expand_dims(rows, {1}), g.expand_dims(rows, {0}))});
    Value order = g.squeeze(difference, {2});
    Value same = g.cast(g.add(mil::equal{.x = order, .y = g.number(order, 0)}), DType::int32);
    // The first of the equal rows stands for all.
    Value first = g.add(mil::reduce_argmax{.x = same, .axis = 1, .keep_dims = false});
    Value line = range(g, g.dim(rows, 0));
    Value leads = g.cast(g.add(mil::equal{.x = first, .y = line}), DType::int32);
    Value rank;  // of each row among the leading ones
    if (sorted) {
      Value greater = g.cast(g.add(mil::greater{.x = order, .y = g.number(order, 0)}), DType::int32);
      rank = g.add(mil::reduce_sum{.x = g.times(greater, g.expand_dims(leads, {0})), .axes = Ints{1}});
    } else {
      Value before = g.add(mil::cumsum{.x = leads, .axis = 0, .exclusive = true});
      rank = g.add(mil::gather{.x = before, .indices = first, .axis = 0});
    }
    Value places = g.squeeze(g.add(mil::non_zero{.x = leads}), {1});
    if (sorted) {
      Value ranks = g.add(mil::gather{.x = rank, .indices = places, .axis = 0});
      places = g.add(mil::gather{
          .x = places, .indices = g.add(mil::argsort{.x = ranks, .axis = 0, .ascending = true}), .axis = 0});
    }
    Value y = axis->has_value()
                  ? g.add(mil::gather{.x = numbers, .indices = places, .axis = int(along)})
                  : g.add(mil::gather{.x = g.reshape(numbers, Shape{count}), .indices = places, .axis = 0});
    POM_TRY(g.result(g.cast(y, X.dtype()), X.elem()));
    POM_TRY(g.result(places, Elem::int64));
    POM_TRY(g.result(rank, Elem::int64));
    Value sizes = g.add(mil::reduce_sum{.x = same, .axes = Ints{1}});
    return g.result(g.add(mil::gather{.x = sizes, .indices = places, .axis = 0}), Elem::int64);
  }

 private:
  static Ints to_front(std::size_t rank, std::size_t axis) {
    Ints perm{std::int64_t(axis)};
    for (std::size_t i = 0; i < rank; ++i)
      if (i != axis) perm.push_back(std::int64_t(i));
    return perm;
  }
  // The difference in the first column where a and b differ; [n, n, 1].
  static Value compared(Lowering& g, Value a, Value b) {
    if (!a || !b) return {};
    auto less = g.cast(g.add(mil::less{.x = a, .y = b}), DType::int32);
    auto more = g.cast(g.add(mil::greater{.x = a, .y = b}), DType::int32);
    Value sign = g.minus(more, less);
    if (!sign || sign.shape()[2] == 1) return sign;
    Value at = g.add(mil::reduce_argmax{.x = g.add(mil::abs{.x = sign}), .axis = 2, .keep_dims = true});
    return g.add(mil::gather_along_axis{.x = sign, .indices = at, .axis = 2});
  }
};

// How often each sequence of the pool is in the input, with gaps of up to max_skip_count between its elements.
struct TfIdfVectorizer {
  ONNX_IN(X);
  ONNX_ATTR(max_gram_length, int, .required = true);
  ONNX_ATTR(max_skip_count, int, .required = true);
  ONNX_ATTR(min_gram_length, int, .required = true);
  ONNX_ATTR(mode, std::string, .required = true);
  ONNX_ATTR(ngram_counts, Ints, .required = true);
  ONNX_ATTR(ngram_indexes, Ints, .required = true);
  ONNX_ATTR(pool_int64s, Ints);
  ONNX_ATTR(pool_strings, Strings);
  ONNX_ATTR(weights, Floats);
  Status lower(Lowering& g) const {
    POM_REQUIRE(pool_strings->empty() && X.dtype() == DType::int32, "pools of strings are not supported");
    POM_REQUIRE(X.rank() == 1 || X.rank() == 2, "the input has rank {}", X.rank());
    POM_REQUIRE(X.shape().back().known(), "the length of the input is not known");
    POM_REQUIRE(*mode == "TF" || *mode == "IDF" || *mode == "TFIDF", "mode is '{}'", *mode);
    std::int64_t length = X.shape().back().value(), outputs = 0;
    for (std::int64_t i : *ngram_indexes) {
      POM_REQUIRE(i >= 0 && i < 1 << 24, "ngram_indexes holds {}", i);
      outputs = std::max(outputs, i + 1);
    }
    Value x = X.rank() == 1 ? g.expand_dims(X, {0}) : *X;
    std::vector<Values> terms(static_cast<std::size_t>(outputs));
    std::size_t gram = 0;
    for (std::size_t n = 0; n < ngram_counts->size(); ++n) {
      std::int64_t from = (*ngram_counts)[n], size = std::int64_t(n) + 1;
      std::int64_t to = n + 1 < ngram_counts->size() ? (*ngram_counts)[n + 1] : std::int64_t(pool_int64s->size());
      POM_REQUIRE(from >= 0 && from <= to && to <= std::int64_t(pool_int64s->size()) && (to - from) % size == 0,
                  "ngram_counts does not fit the pool");
      for (std::int64_t at = from; at < to; at += size, ++gram) {
        POM_REQUIRE(gram < ngram_indexes->size(), "ngram_indexes has {} entries, too few for the pool",
                    ngram_indexes->size());
        if (size < *min_gram_length || size > *max_gram_length) continue;
        Value count = counted(g, x, length, Ints(pool_int64s->begin() + at, pool_int64s->begin() + at + size));
        auto& place = terms[std::size_t((*ngram_indexes)[gram])];
        if (count) place.push_back(weighted(g, count, gram));
      }
    }
    if (!g.status()) return g.status();
    Values columns;
    Value none = g.times(g.cast(g.slice(x, 1, 0, 1), DType::fp32), 0);
    for (const Values& sums : terms) {
      Value sum = none;
      for (Value v : sums) sum = g.plus(sum, v);
      columns.push_back(sum);
    }
    Value y = g.concat(columns, 1);
    return g.result(X.rank() == 1 ? g.squeeze(y, {0}) : y, Elem::float32);
  }

 private:
  Value counted(Lowering& g, Value x, std::int64_t length, const Ints& gram) const {
    Value total;
    auto size = std::int64_t(gram.size());
    for (std::int64_t skip = 0; skip <= (size == 1 ? 0 : *max_skip_count); ++skip) {
      std::int64_t step = skip + 1, starts = length - (size - 1) * step;
      if (starts <= 0) break;
      Value all;
      for (std::int64_t k = 0; k < size; ++k) {
        Value part = g.slice(x, 1, k * step, k * step + starts);
        Value here = g.add(mil::equal{.x = part, .y = g.integer(gram[std::size_t(k)])});
        all = all ? g.add(mil::logical_and{.x = all, .y = here}) : here;
      }
      Value sum = g.add(mil::reduce_sum{.x = g.cast(all, DType::fp32), .axes = Ints{1}, .keep_dims = true});
      total = total ? g.plus(total, sum) : sum;
    }
    return total;
  }
  Value weighted(Lowering& g, Value count, std::size_t gram) const {
    double weight = gram < weights->size() ? (*weights)[gram] : 1;
    if (*mode == "TF") return count;
    if (*mode == "TFIDF") return g.times(count, weight);
    return g.times(g.add(mil::minimum{.x = count, .y = g.number(count, 1)}), weight);
  }
};

struct MaxUnpool {
  ONNX_IN(X);
  ONNX_IN(I);
  ONNX_OPTIONAL(output_shape);
  ONNX_ATTR(kernel_shape, Ints, .required = true);
  ONNX_ATTR(pads, Ints);
  ONNX_ATTR(strides, Ints);
  Status lower(Lowering& g) const {
    POM_REQUIRE(all_known(X.shape()) && X.rank() >= 3, "the input needs known sizes");
    std::size_t spatial = X.rank() - 2;
    POM_REQUIRE(kernel_shape->size() == spatial, "kernel_shape has {} entries", kernel_shape->size());
    Ints sizes = known_sizes(X.shape());
    for (std::size_t i = 0; i < spatial; ++i) {
      std::int64_t stride = i < strides->size() ? (*strides)[i] : 1;
      std::int64_t cut = pads->size() == 2 * spatial ? (*pads)[i] + (*pads)[i + spatial] : 0;
      sizes[i + 2] = (sizes[i + 2] - 1) * stride - cut + (*kernel_shape)[i];
      POM_REQUIRE(sizes[i + 2] > 0 && sizes[i + 2] < 1 << 20, "the result would have the size {}", sizes[i + 2]);
    }
    std::int64_t count = 1;
    for (std::int64_t s : sizes) POM_REQUIRE(!__builtin_mul_overflow(count, s, &count), "the result is too large");
    Value flat = g.reshape(X, Shape{element_count(X.shape())}), at = g.reshape(I, Shape{element_count(I.shape())});
    Value empty = g.filled(Shape{count}, {}, X.dtype(), 0);
    Value y =
        g.add(mil::scatter_along_axis{.data = empty, .indices = at, .updates = flat, .axis = 0, .mode = "update"});
    y = g.reshape(y, Shape(sizes.begin(), sizes.end()));
    if (output_shape) y = POM_TRY(enlarged(g, y, sizes));
    return g.result(y, X.elem());
  }
  Result<Value> enlarged(Lowering& g, Value y, const Ints& sizes) const {
    Ints wanted = POM_TRY(g.constant_ints(output_shape, "output_shape"));
    POM_REQUIRE(wanted.size() == sizes.size(), "output_shape has {} entries", wanted.size());
    Ints pad;
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      POM_REQUIRE(wanted[i] >= sizes[i], "output_shape is smaller than the result");
      pad.push_back(0);
      pad.push_back(wanted[i] - sizes[i]);
    }
    return g.add(mil::pad{.x = y, .pad = g.ints(pad)});
  }
};

// A constant: the triangular filters of a mel filter bank.
struct MelWeightMatrix {
  ONNX_IN(num_mel_bins);
  ONNX_IN(dft_length);
  ONNX_IN(sample_rate);
  ONNX_IN(lower_edge_hertz);
  ONNX_IN(upper_edge_hertz);
  ONNX_ATTR(output_datatype, int) = 1;
  Status lower(Lowering& g) const {
    double bins = POM_TRY(g.constant_number(num_mel_bins, "num_mel_bins"));
    double length = POM_TRY(g.constant_number(dft_length, "dft_length"));
    double rate = POM_TRY(g.constant_number(sample_rate, "sample_rate"));
    double low = POM_TRY(g.constant_number(lower_edge_hertz, "lower_edge_hertz"));
    double high = POM_TRY(g.constant_number(upper_edge_hertz, "upper_edge_hertz"));
    const ElemInfo* elem = find_elem(output_datatype);
    POM_REQUIRE(elem && elem->elem != Elem::string, "output_datatype {} is not supported", elem_name(output_datatype));
    POM_REQUIRE(bins > 0 && bins < 1 << 16 && length > 0 && length < 1 << 20 && rate > 0, "the sizes are impossible");
    auto columns = std::int64_t(bins), rows = std::int64_t(std::floor(length / 2)) + 1;
    auto mel = [](double hertz) { return 2595 * std::log10(1 + hertz / 700); };
    std::vector<std::int64_t> edges;
    double step = (mel(high) - mel(low)) / (bins + 2);
    for (std::int64_t i = 0; i < columns + 2; ++i) {
      double hertz = 700 * (std::pow(10, (double(i) * step + mel(low)) / 2595) - 1);
      edges.push_back(std::int64_t(std::floor((length + 1) * hertz / rate)));
    }
    std::vector<double> matrix(static_cast<std::size_t>(rows * columns));
    auto set = [&](std::int64_t row, std::int64_t column, double value) {
      if (row >= 0 && row < rows) matrix[std::size_t(row * columns + column)] = value;
    };
    for (std::int64_t c = 0; c < columns; ++c) {
      std::int64_t from = edges[std::size_t(c)], middle = edges[std::size_t(c) + 1], to = edges[std::size_t(c) + 2];
      if (middle == from)
        set(middle, c, 1);
      else
        for (std::int64_t r = from; r <= middle; ++r) set(r, c, double(r - from) / double(middle - from));
      for (std::int64_t r = middle; r < to; ++r) set(r, c, double(to - r) / double(to - middle));
    }
    return g.result(constant_of(g, elem->compute, {rows, columns}, matrix), elem->elem);
  }
};

}  // namespace

Rules selection_chapter() {
  return {
      rule<MaxUnpool>("MaxUnpool"),
      rule<MelWeightMatrix>("MelWeightMatrix"),
      rule<NonMaxSuppression>("NonMaxSuppression"),
      rule<TfIdfVectorizer>("TfIdfVectorizer"),
      rule<Unique>("Unique"),
  };
}

}  // namespace pomona::onnx
