#include "api/detector.h"

#include <algorithm>

#include "ir/builder.h"
#include "ops/control_flow.h"
#include "ops/elementwise_binary.h"
#include "ops/elementwise_unary.h"
#include "ops/gather_scatter.h"
#include "ops/reduction.h"
#include "ops/shape.h"
#include "ops/tensor_operation.h"

namespace pomona::api {
namespace {

Result<Value> output_named(Function& function, const std::string& name) {
  std::string names;
  for (Value result : function.body.results()) {
    if (result.name() == name) return result;
    names += (names.empty() ? "" : ", ") + result.name();
  }
  return fail("--detector names '{}', but the outputs are: {}", name, names);
}

Value columns(Builder& g, Value x, int from, int to) {
  return g.add(mil::slice_by_index{.x = x,
                                   .begin = g.ints({0, from}),
                                   .end = g.ints({0, to}),
                                   .stride = Ints{1, 1},
                                   .begin_mask = Ints{1, 0},
                                   .end_mask = Ints{1, 0}});
}

// [1, N, K], [1, K, N] or [N, K] as [N, K]; `is_row` says which size is K's.
template <class IsRow>
Result<Value> rows_of(Builder& g, Value x, const IsRow& is_row, std::string_view what) {
  if (x.dtype() != DType::fp32) x = g.add(mil::cast{.x = x, .dtype = std::string("fp32")});
  while (x && x.rank() > 2 && x.shape()[0] == 1) x = g.add(mil::squeeze{.x = x, .axes = Ints{0}});
  POM_REQUIRE(x && x.rank() == 2, "{} must be of one picture, with a row for each box", what);
  if (is_row(x.shape()[1])) return x;
  POM_REQUIRE(is_row(x.shape()[0]), "{} {} do not fit", what, to_string(x.shape()));
  return g.add(mil::transpose{.x = x, .perm = Ints{1, 0}});
}

struct Boxes {
  Value places, scores;  // [N, 4] centre and size, [N, classes]
};

Result<Boxes> boxes_of(Builder& g, Function& function, const DetectorRequest& request) {
  Value boxes = POM_TRY(output_named(function, request.boxes)), scores;
  if (request.scores.empty() || request.scores == request.boxes) {
    // Four numbers of a place and the scores of the classes, box by box.
    Value all =
        POM_TRY(rows_of(g, boxes, [&](Dim d) { return d.known() && d.value() > 4 && d.value() < 1028; }, "boxes"));
    POM_REQUIRE(all.shape()[1].known(), "the number of classes is not known");
    scores = columns(g, all, 4, int(all.shape()[1].value()));
    boxes = columns(g, all, 0, 4);
  } else {
    boxes = POM_TRY(rows_of(g, boxes, [](Dim d) { return d == 4; }, "boxes"));
    Value given = POM_TRY(output_named(function, request.scores));
    Dim count = boxes.shape()[0];
    Value flat = given;
    while (flat.rank() > 2 && flat.shape()[0] == 1) flat = g.add(mil::squeeze{.x = flat, .axes = Ints{0}});
    POM_REQUIRE(flat && flat.rank() == 2, "scores must be of one picture, with a row for each box");
    bool first = flat.shape()[0] == count;
    scores =
        POM_TRY(rows_of(g, flat, [&](Dim d) { return first ? d == flat.shape()[1] : d == flat.shape()[0]; }, "scores"));
    if (first && scores.shape()[1] == count && !(flat.shape()[1] == count)) scores = flat;
  }
  Value factor = g.constant(Tensor::from_numbers(
      DType::fp32, {1, 4}, {1 / request.width, 1 / request.height, 1 / request.width, 1 / request.height}));
  boxes = g.add(mil::mul{.x = boxes, .y = factor});
  if (request.corners) {
    Value low = columns(g, boxes, 0, 2), high = columns(g, boxes, 2, 4);
    Value middle = g.add(mil::mul{.x = g.add(mil::add{.x = low, .y = high}), .y = g.number(low, 0.5)});
    boxes = g.add(mil::concat{.values = Values{middle, g.add(mil::sub{.x = high, .y = low})}, .axis = 1});
  }
  POM_TRY(Status(g.status()));
  return Boxes{boxes, scores};
}

Value threshold(Function& function, const std::string& name, double usual) {
  Value input = function.body.add_input(name, tensor_type(DType::fp32, {1}));
  Feature feature;
  feature.name = name;
  feature.dtype = DType::fp32;
  feature.optional = true;
  feature.default_value = usual;
  feature.shape = {1};
  function.inputs.push_back(feature);
  return input;
}

// How much of box `one` [1, 4] and each of `all` [N, 4] they share: [N].
Value overlaps(Builder& g, Value one, Value all) {
  auto edge = [&](Value boxes, int axis, double side) {
    Value half = g.add(mil::mul{.x = columns(g, boxes, axis + 2, axis + 3), .y = g.number(boxes, side)});
    return g.add(mil::add{.x = columns(g, boxes, axis, axis + 1), .y = half});
  };
  auto area = [&](Value boxes) { return g.add(mil::mul{.x = columns(g, boxes, 2, 3), .y = columns(g, boxes, 3, 4)}); };
  Value shared;
  for (int axis = 0; axis < 2; ++axis) {
    Value low = g.add(mil::maximum{.x = edge(one, axis, -0.5), .y = edge(all, axis, -0.5)});
    Value high = g.add(mil::minimum{.x = edge(one, axis, 0.5), .y = edge(all, axis, 0.5)});
    Value length = g.add(mil::maximum{.x = g.add(mil::sub{.x = high, .y = low}), .y = g.number(low, 0)});
    shared = shared ? g.add(mil::mul{.x = shared, .y = length}) : length;
  }
  Value sum = g.add(mil::add{.x = area(one), .y = area(all)});
  Value joined = g.add(mil::maximum{.x = g.add(mil::sub{.x = sum, .y = shared}), .y = g.number(sum, 1e-9)});
  return g.add(mil::squeeze{.x = g.add(mil::real_div{.x = shared, .y = joined}), .axes = Ints{1}});
}

}  // namespace

Status add_detector(Function& function, const DetectorRequest& request) {
  Builder g(function);
  Boxes found = POM_TRY(boxes_of(g, function, request));
  Value iou = threshold(function, "iouThreshold", request.overlap);
  Value bar = threshold(function, "confidenceThreshold", request.confidence);
  Value best = g.add(mil::reduce_max{.x = found.scores, .axes = Ints{1}, .keep_dims = false});
  Value kind = g.add(mil::reduce_argmax{.x = found.scores, .axis = 1, .keep_dims = false});
  Value scalar_bar = g.add(mil::squeeze{.x = bar, .axes = Ints{0}});
  std::vector<double> nothing(std::size_t(request.most), -1.0);
  Values variables{g.scalar(DType::int32, 0), best,
                   g.constant(Tensor::from_numbers(DType::int32, {request.most}, nothing))};
  POM_TRY(Status(g.status()));

  std::vector<std::unique_ptr<Block>> blocks;
  for (int k = 0; k < 2; ++k) {
    Block& block = *blocks.emplace_back(std::make_unique<Block>(&function));
    for (std::size_t i = 0; i < variables.size(); ++i)
      block.add_input((k ? "chosen_" : "left_") + std::to_string(i), variables[i].type());
  }
  Block &test = *blocks[0], &body = *blocks[1];
  Builder t(test);
  Value left = t.add(mil::reduce_max{.x = test.input(1), .axes = Ints{0}, .keep_dims = false});
  Value more =
      t.add(mil::logical_and{.x = t.add(mil::less{.x = test.input(0), .y = t.scalar(DType::int32, request.most)}),
                             .y = t.add(mil::greater_equal{.x = left, .y = scalar_bar})});
  POM_TRY(Status(t.status()));
  test.set_results({more});

  Builder b(body);
  Value at = b.add(mil::reduce_argmax{.x = body.input(1), .axis = 0, .keep_dims = true});
  Value one = b.add(mil::gather{.x = found.places, .indices = at, .axis = 0});
  Value near = b.add(mil::greater{.x = overlaps(b, one, found.places), .y = iou});
  Value same = b.add(mil::equal{.x = kind, .y = b.add(mil::gather{.x = kind, .indices = at, .axis = 0})});
  Value gone = b.add(mil::logical_and{.x = near, .y = same});
  Value none = b.number(best, -1);
  Value after = b.add(mil::select{.cond = gone, .a = none, .b = body.input(1)});
  after = b.add(mil::scatter{.data = after,
                             .indices = at,
                             .updates = b.constant(Tensor::from_numbers(DType::fp32, {1}, {-1})),
                             .axis = 0,
                             .mode = "update"});
  Value place = b.add(mil::expand_dims{.x = body.input(0), .axes = Ints{0}});
  Value chosen =
      b.add(mil::scatter{.data = body.input(2), .indices = place, .updates = at, .axis = 0, .mode = "update"});
  Value next = b.add(mil::add{.x = body.input(0), .y = b.scalar(DType::int32, 1)});
  POM_TRY(Status(b.status()));
  body.set_results({next, after, chosen});

  auto count = std::uint32_t(variables.size());
  Values made = g.add_call(def<mil::while_loop>(), {}, variables, {count}, {}, std::move(blocks));
  POM_TRY(Status(g.status()));
  Value end = g.add(mil::expand_dims{.x = made[0], .axes = Ints{0}});
  Value rows = g.add(mil::slice_by_size{.x = made[2], .begin = g.ints({0}), .size = end});
  Value confidence = g.add(mil::gather{.x = found.scores, .indices = rows, .axis = 0}, "confidence");
  Value coordinates = g.add(mil::gather{.x = found.places, .indices = rows, .axis = 0}, "coordinates");
  POM_TRY(Status(g.status()));

  Values results;
  for (Value result : function.body.results())
    if (result.name() != request.boxes && result.name() != request.scores) results.push_back(result);
  std::erase_if(function.outputs,
                [&](const Feature& f) { return f.name == request.boxes || f.name == request.scores; });
  for (Value value : {confidence, coordinates}) {
    results.push_back(value);
    Feature feature;
    feature.name = value.name();
    feature.dtype = DType::fp32;
    feature.has_shape = false;
    function.outputs.push_back(feature);
  }
  function.body.set_results(std::move(results));
  return {};
}

}  // namespace pomona::api
