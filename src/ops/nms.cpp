#include "ops/nms.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "ops/axes.h"
#include "ops/catalogue.h"
#include "ops/shape_rules.h"

namespace pomona::mil {
namespace {

struct Box {
  double x, y, width, height;  // x and y of the centre
};

double overlap(const Box& a, const Box& b) {
  auto common = [](double p, double p_size, double q, double q_size) {
    return std::max(0.0, std::min(p + p_size / 2, q + q_size / 2) - std::max(p - p_size / 2, q - q_size / 2));
  };
  double both = common(a.x, a.width, b.x, b.width) * common(a.y, a.height, b.y, b.height);
  double either = a.width * a.height + b.width * b.height - both;
  return either > 0 ? both / either : 0;
}

struct Limits {
  double overlap, score;
  std::size_t count;
  bool per_class;
};

// Indices of the boxes kept in one image, best first. `best` and `kind` are each box's best score and its class.
std::vector<std::size_t> suppress(const std::vector<Box>& boxes, const std::vector<double>& best,
                                  const std::vector<std::size_t>& kind, const Limits& limits) {
  std::vector<std::size_t> order(boxes.size()), kept;
  std::iota(order.begin(), order.end(), std::size_t(0));
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return best[a] > best[b] || (best[a] == best[b] && a < b); });
  for (std::size_t i : order) {
    if (kept.size() == limits.count || best[i] < limits.score) break;
    bool free = std::none_of(kept.begin(), kept.end(), [&](std::size_t k) {
      return (!limits.per_class || kind[k] == kind[i]) && overlap(boxes[i], boxes[k]) > limits.overlap;
    });
    if (free) kept.push_back(i);
  }
  // When no score reaches the threshold the best box is returned all the same.
  if (kept.empty() && !order.empty() && limits.count > 0) kept.push_back(order[0]);
  return kept;
}

// [n, B, 4] and [n, B, K] when `boxes_last` is false, else [n, 4, B] and [n, K, B].
struct Layout {
  Dim images, boxes, classes;
};
Result<Layout> layout_of(const InputField& boxes, const InputField& scores, bool boxes_last, int max_boxes) {
  POM_REQUIRE(boxes.rank() == 3 && scores.rank() == 3, "boxes and scores have ranks {} and {}, not 3", boxes.rank(),
              scores.rank());
  const Shape &b = boxes.shape(), &s = scores.shape();
  std::size_t along = boxes_last ? 2 : 1, across = boxes_last ? 1 : 2;
  POM_REQUIRE(may_equal(b[across], 4), "boxes have {} numbers each, not 4", b[across].text());
  POM_REQUIRE(may_equal(b[0], s[0]) && may_equal(b[along], s[along]), "boxes are {}, but scores are {}", to_string(b),
              to_string(s));
  POM_REQUIRE(!(s[across] == 0), "scores have no classes");
  POM_REQUIRE(max_boxes >= 0, "max_boxes is {}", max_boxes);
  return Layout{s[0], s[along], s[across]};
}

Result<Tensors> evaluate(const InputField& boxes, const InputField& scores, bool boxes_last, const Limits& limits,
                         const Types& types) {
  std::size_t images = std::size_t(boxes.sizes()[0]), count = std::size_t(boxes.sizes()[boxes_last ? 2 : 1]),
              classes = std::size_t(scores.sizes()[boxes_last ? 1 : 2]), places = limits.count;
  // Element (i, k) of an image's table of `rows` by `columns`, which the later layout stores transposed.
  auto at = [boxes_last](std::size_t i, std::size_t k, std::size_t rows, std::size_t columns) {
    return boxes_last ? k * rows + i : i * columns + k;
  };
  Tensors out;
  for (const Type& type : types) out.push_back(POM_TRY(make_tensor(type.dtype, type.shape)));
  Tensor &out_boxes = out[0], &out_scores = out[1], &out_indices = out[2];
  for (std::size_t i = 0; i < out_indices.count(); ++i) out_indices.set_number(i, -1);
  std::vector<double> b = boxes.tensor().numbers(), s = scores.tensor().numbers();
  for (std::size_t n = 0; n < images; ++n) {
    const double *own_boxes = b.data() + n * count * 4, *own_scores = s.data() + n * count * classes;
    std::vector<Box> table(count);
    std::vector<double> best(count, -INFINITY);
    std::vector<std::size_t> kind(count, 0);
    for (std::size_t i = 0; i < count; ++i) {
      table[i] = {own_boxes[at(i, 0, count, 4)], own_boxes[at(i, 1, count, 4)], own_boxes[at(i, 2, count, 4)],
                  own_boxes[at(i, 3, count, 4)]};
      for (std::size_t k = 0; k < classes; ++k)
        if (double score = own_scores[at(i, k, count, classes)]; score > best[i]) {
          best[i] = score;
          kind[i] = k;
        }
    }
    std::vector<std::size_t> kept = suppress(table, best, kind, limits);
    for (std::size_t j = 0; j < kept.size(); ++j) {
      for (std::size_t k = 0; k < 4; ++k)
        out_boxes.set_number(n * places * 4 + at(j, k, places, 4), own_boxes[at(kept[j], k, count, 4)]);
      for (std::size_t k = 0; k < classes; ++k)
        out_scores.set_number(n * places * classes + at(j, k, places, classes),
                              own_scores[at(kept[j], k, count, classes)]);
      out_indices.set_number(n * places + j, double(kept[j]));
    }
    if (out.size() > 3) out[3].set_number(n, double(kept.size()));
  }
  return out;
}

}  // namespace

Result<Types> non_maximum_suppression_iOS15::infer(const At&) const {
  Layout layout = POM_TRY(layout_of(boxes, scores, false, max_boxes));
  Dim places = std::int64_t(max_boxes);
  Types types{tensor_type(boxes.dtype(), {layout.images, places, 4}),
              tensor_type(scores.dtype(), {layout.images, places, layout.classes}),
              tensor_type(DType::int32, {layout.images, places}), tensor_type(DType::int32, {layout.images})};
  for (const Type& type : types) POM_TRY(check_sizes(type.shape));
  return types;
}
Result<Tensors> non_maximum_suppression_iOS15::eval(const At& at) const {
  Types types = POM_TRY(infer(at));
  return evaluate(boxes, scores, false,
                  {iou_threshold, score_threshold, std::size_t(*max_boxes), per_class_suppression}, types);
}

Result<Types> non_maximum_suppression::infer(const At&) const {
  Layout layout = POM_TRY(layout_of(boxes, scores, true, max_boxes));
  Dim places = std::int64_t(max_boxes);
  Types types{tensor_type(boxes.dtype(), {layout.images, 4, places}),
              tensor_type(scores.dtype(), {layout.images, layout.classes, places}),
              tensor_type(DType::int32, {layout.images, places})};
  for (const Type& type : types) POM_TRY(check_sizes(type.shape));
  return types;
}
Result<Tensors> non_maximum_suppression::eval(const At& at) const {
  Types types = POM_TRY(infer(at));
  return evaluate(boxes, scores, true, {iou_threshold, -INFINITY, std::size_t(*max_boxes), per_class_suppression},
                  types);
}

std::vector<const OpDef*> nms_chapter() { return op_list<non_maximum_suppression_iOS15, non_maximum_suppression>(); }

}  // namespace pomona::mil
