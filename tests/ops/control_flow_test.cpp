// Blocks, lists, states, the classifier, suppression and random ops.
#include "ops/control_flow.h"
#include "graph.h"
#include "ops/classify.h"
#include "ops/elementwise_binary.h"
#include "ops/list.h"
#include "ops/nms.h"
#include "ops/random.h"
#include "ops/state.h"
#include "ops/tensor_operation.h"

namespace pomona {
namespace {

using enum DType;
using Blocks = std::vector<std::unique_ptr<Block>>;

Blocks two_blocks(Graph& t) {
  Blocks blocks;
  blocks.push_back(std::make_unique<Block>(&t.main));
  blocks.push_back(std::make_unique<Block>(&t.main));
  return blocks;
}
Values while_loop(Graph& t, const Values& variables, Blocks blocks) {
  return t.g.add_call(def<mil::while_loop>(), {}, variables, {std::uint32_t(variables.size())}, "loop",
                      std::move(blocks));
}

TEST(ControlFlow, CondTakesOneOfTheBlocks) {
  for (double choice : {1.0, 0.0}) {
    Graph t;
    Value pred = t.input(boolean, {}, {choice}), x = t.input(fp32, {2}, {1, 2}), y = t.input(fp32, {3}, {3, 4, 5});
    Blocks blocks = two_blocks(t);
    Builder yes(*blocks[0]), no(*blocks[1]);
    blocks[0]->set_results({yes.add(mil::add{.x = x, .y = x})});
    blocks[1]->set_results({no.add(mil::add{.x = y, .y = y})});
    Values out = t.g.add_call(def<mil::cond>(), {}, {pred}, {1}, "c", std::move(blocks));
    ASSERT_TRUE(t.g.status());
    EXPECT_FALSE(out[0].shape()[0].known());
    Tensor made = t.run(out)[0];
    if (choice != 0)
      expect_numbers(made, {2, 4});
    else
      expect_numbers(made, {6, 8, 10});
  }
}
TEST(ControlFlow, CondRefusesBlocksOfDifferentTypes) {
  Graph t;
  Value pred = t.input(boolean, {}, {1}), x = t.input(fp32, {2}, {1, 2}), y = t.input(int32, {2}, {3, 4});
  Blocks blocks = two_blocks(t);
  blocks[0]->set_results({x});
  blocks[1]->set_results({y});
  EXPECT_EQ(t.error(t.g.add_call(def<mil::cond>(), {}, {pred}, {1}, "c", std::move(blocks))),
            "tensor<fp32, [2]> and tensor<int32, [2]> differ in more than their sizes");
}

// i = 0, v = x; while i < limit: v = concat(v, x), i = i + 1
struct GrowingLoop : Graph {
  Value x = input(fp32, {2}, {1, 2}), limit;
  Blocks blocks = two_blocks(*this);

  GrowingLoop(double limit_value, Dim entry) : limit(input(int32, {}, {limit_value})) {
    for (auto& block : blocks) {
      block->add_input("i", tensor_type(int32, {}));
      block->add_input("v", tensor_type(fp32, {entry}));
    }
    Builder condition(*blocks[0]), body(*blocks[1]);
    blocks[0]->set_results({condition.add(mil::less{.x = blocks[0]->input(0), .y = limit})});
    Value next = body.add(mil::add{.x = blocks[1]->input(0), .y = body.scalar(int32, 1)});
    Value longer = body.add(mil::concat{.values = Values{blocks[1]->input(1), x}, .axis = 0});
    blocks[1]->set_results({next, longer});
    EXPECT_TRUE(condition.status() && body.status());
  }
};
TEST(ControlFlow, LoopVariablesMayGrow) {
  GrowingLoop t(2, Dim::unknown());
  Values out = while_loop(t, {t.g.scalar(int32, 0), t.x}, std::move(t.blocks));
  ASSERT_TRUE(t.g.status()) << describe(t.g.status().error());
  EXPECT_FALSE(out[1].shape()[0].known());
  Tensors made = t.run(out);
  expect_numbers(made[0], {2});
  expect_numbers(made[1], {1, 2, 1, 2, 1, 2});
}
TEST(ControlFlow, LoopsMayRunZeroTimes) {
  GrowingLoop t(0, Dim::unknown());
  Tensors made = t.run(while_loop(t, {t.g.scalar(int32, 0), t.x}, std::move(t.blocks)));
  expect_numbers(made[0], {0});
  expect_numbers(made[1], {1, 2});
}
TEST(ControlFlow, ALoopMustLeaveAGrowingSizeUnknown) {
  GrowingLoop t(2, 2);
  EXPECT_EQ(t.error(while_loop(t, {t.g.scalar(int32, 0), t.x}, std::move(t.blocks))),
            "loop variable 1 is tensor<fp32, [4]>, but the input of the loop's block is tensor<fp32, [2]>");
}
TEST(ControlFlow, WithoutBlocks) {
  Graph t;
  EXPECT_EQ(t.error(t.g.add_all(mil::cond{.pred = t.input(boolean, {}, {1})})), "cond needs two blocks, but has 0");
}

TEST(List, WriteReadGatherScatter) {
  Graph t;
  Value ls = t.g.add(mil::make_list{.elem_shape = Ints{2}, .dtype = "int32"});
  Value index = t.g.scalar(int32, 2), row = t.input(int32, {2}, {7, 8});
  Value grown = t.g.add(mil::list_write{.ls = ls, .index = index, .value = row});
  Value scattered = t.g.add(
      mil::list_scatter{.ls = grown, .indices = t.g.ints({3, 0}), .value = t.input(int32, {2, 2}, {1, 2, 3, 4})});
  Tensors y = t.run({t.g.add(mil::list_length{.ls = ls}), t.g.add(mil::list_length{.ls = grown}),
                     t.g.add(mil::list_length{.ls = scattered}),
                     t.g.add(mil::list_gather{.ls = scattered, .indices = t.g.ints({0, 1, 2, 3})}),
                     t.g.add(mil::list_read{.ls = grown, .index = index})});
  expect_numbers(y[0], {1});
  expect_numbers(y[1], {3});
  expect_numbers(y[2], {4});
  expect_numbers(y[3], {3, 4, 0, 0, 7, 8, 1, 2});
  expect_numbers(y[4], {7, 8});
}
TEST(List, UnknownSizesComeWithTheFirstElement) {
  Graph t;
  Value ls = t.g.add(mil::make_list{.init_length = t.g.scalar(int32, 2), .elem_shape = Strings{"n", "2"}});
  EXPECT_EQ(to_string(ls.shape()), "[n, 2]");
  Value written =
      t.g.add(mil::list_write{.ls = ls, .index = t.g.scalar(int32, 0), .value = t.input(fp32, {1, 2}, {5, 6})});
  Tensors y = t.run({t.g.add(mil::list_gather{.ls = written, .indices = t.g.ints({1, 0})})});
  EXPECT_EQ(y[0].sizes(), (Sizes{2, 1, 2}));
  expect_numbers(y[0], {0, 0, 5, 6});
}
TEST(List, ErrorsNameIndexAndType) {
  Graph t;
  Value ls = t.g.add(mil::make_list{.elem_shape = Ints{2}});
  EXPECT_EQ(t.error({t.g.add(mil::list_read{.ls = ls, .index = t.g.scalar(int32, 1)})}),
            "index 1 is outside a list of 1 elements");
  Graph u;
  ls = u.g.add(mil::make_list{.elem_shape = Ints{2}});
  EXPECT_EQ(u.error({u.g.add(
                mil::list_write{.ls = ls, .index = u.g.scalar(int32, 0), .value = u.input(fp32, {3}, {1, 2, 3})})}),
            "the list holds tensor<fp32, [2]>, but the value is tensor<fp32, [3]>");
  Graph v;
  ls = v.g.add(mil::make_list{.elem_shape = Ints{2}});
  EXPECT_NE(v.error({v.g.add(
                mil::list_write{.ls = ls, .index = v.g.scalar(int32, 2e9), .value = v.input(fp32, {2}, {1, 2})})}),
            "");
}
TEST(List, LoopCollectsIntoAList) {
  Graph t;
  Value ls = t.g.add(mil::make_list{.elem_shape = Ints{}, .dtype = "int32"});
  Blocks blocks = two_blocks(t);
  for (auto& block : blocks) {
    block->add_input("i", tensor_type(int32, {}));
    block->add_input("ls", ls.type());
  }
  Builder condition(*blocks[0]), body(*blocks[1]);
  blocks[0]->set_results({condition.add(mil::less{.x = blocks[0]->input(0), .y = condition.scalar(int32, 3)})});
  Value i = blocks[1]->input(0), square = body.add(mil::mul{.x = i, .y = i});
  Value kept = body.add(mil::list_write{.ls = blocks[1]->input(1), .index = i, .value = square});
  blocks[1]->set_results({body.add(mil::add{.x = i, .y = body.scalar(int32, 1)}), kept});
  Values out = while_loop(t, {t.g.scalar(int32, 0), ls}, std::move(blocks));
  ASSERT_TRUE(t.g.status()) << describe(t.g.status().error());
  Tensors y = t.run({t.g.add(mil::list_gather{.ls = out[1], .indices = t.g.ints({0, 1, 2})})});
  expect_numbers(y[0], {0, 1, 4});
}

TEST(State, LivesBetweenCalls) {
  Graph t;
  Value state = t.main.body.add_input("s", {.dtype = fp16, .shape = {2}, .kind = Type::Kind::state});
  Value now = t.g.add(mil::read_state{.input = state});
  Value next = t.g.add(mil::add{.x = now, .y = t.weight(fp16, {2}, {1, 10})});
  t.g.add_all(mil::write_state{.input = state, .data = next});
  Value after = t.g.add(mil::read_state{.input = state});
  ASSERT_TRUE(t.g.status()) << describe(t.g.status().error());
  t.main.body.set_results({now, after});
  Evaluation evaluation(t.main);
  for (double call = 0; call < 3; ++call) {
    auto made = evaluation({});
    ASSERT_TRUE(made) << describe(made.error());
    expect_numbers((*made)[0], {call, 10 * call});
    expect_numbers((*made)[1], {call + 1, 10 * call + 10});
  }
}
TEST(State, TakesDataOfItsTypeOnly) {
  Graph t;
  Value state = t.main.body.add_input("s", {.dtype = fp16, .shape = {2}, .kind = Type::Kind::state});
  EXPECT_EQ(t.error(t.g.add_all(mil::write_state{.input = state, .data = t.weight(fp32, {2}, {1, 2})})),
            "data is tensor<fp32, [2]>, but the state is " + state.type().text());
}

TEST(Classify, LabelAndDictionary) {
  Graph t;
  Value p = t.input(fp32, {1, 3}, {0.25, 0.5, 0.25});
  Values named = t.g.add_all(mil::classify{.probabilities = p, .classes = Strings{"cat", "dog", "owl"}});
  Values numbered = t.g.add_all(mil::classify{.probabilities = p, .classes = Ints{5, (1LL << 60) + 1, 7}});
  Tensors y = t.run({named[0], named[1], numbered[0], numbered[1]});
  EXPECT_EQ(y[0].text(), (std::vector<std::string>{"dog"}));
  EXPECT_EQ(y[1].elements()[0].text(), (std::vector<std::string>{"cat", "dog", "owl"}));
  EXPECT_EQ(y[1].elements()[1].numbers(), (std::vector<double>{0.25, 0.5, 0.25}));
  EXPECT_EQ(y[2].integers(), (std::vector<std::int64_t>{(1LL << 60) + 1}));
  EXPECT_EQ(named[1].type().key, string);
}
TEST(Classify, NeedsALabelForEveryProbability) {
  Graph t;
  Value p = t.input(fp32, {1, 3}, {0.25, 0.5, 0.25});
  EXPECT_EQ(t.error(t.g.add_all(mil::classify{.probabilities = p, .classes = Strings{"cat", "dog"}})),
            "there are 2 classes, but 3 probabilities");
}

// Three boxes in a row: the second overlaps the first by a third, the third is apart.
TEST(Suppression, KeepsTheBestOfOverlappingBoxes) {
  Graph t(iOS15);
  Value boxes = t.input(fp32, {1, 3, 4}, {1, 1, 2, 2, 2, 1, 2, 2, 9, 9, 2, 2});
  Value scores = t.input(fp32, {1, 3, 2}, {0.1, 0.7, 0.8, 0.2, 0.3, 0.1});
  mil::non_maximum_suppression_iOS15 op{
      .boxes = boxes, .scores = scores, .iou_threshold = 0.3, .score_threshold = 0.25, .max_boxes = 4};
  Values all = t.g.add_all(op);
  op.per_class_suppression = true;
  Values per_class = t.g.add_all(op);
  op.score_threshold = 0.9;
  Values none = t.g.add_all(op);
  Tensors y = t.run({all[0], all[1], all[2], all[3], per_class[2], none[2], none[3]});
  expect_numbers(y[0], {2, 1, 2, 2, 9, 9, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0});
  expect_numbers(y[1], {float(0.8), float(0.2), float(0.3), float(0.1), 0, 0, 0, 0});
  expect_numbers(y[2], {1, 2, -1, -1});
  expect_numbers(y[3], {2});
  expect_numbers(y[4], {1, 0, 2, -1});
  expect_numbers(y[5], {1, -1, -1, -1});
  expect_numbers(y[6], {1});
}
TEST(Suppression, BoxesLast) {
  Graph t(iOS17);
  Value boxes = t.input(fp16, {1, 4, 2}, {1, 9, 1, 9, 2, 2, 2, 2});
  Value scores = t.input(fp16, {1, 1, 2}, {0.25, 0.5});
  Tensors y = t.run(t.g.add_all(
      mil::non_maximum_suppression{.boxes = boxes, .scores = scores, .iou_threshold = 0.5, .max_boxes = 3}));
  expect_numbers(y[0], {9, 1, 0, 9, 1, 0, 2, 2, 0, 2, 2, 0});
  expect_numbers(y[1], {0.5, 0.25, 0});
  expect_numbers(y[2], {1, 0, -1});
}

double mean_of(const Tensor& t) {
  double sum = 0;
  for (double v : t.numbers()) sum += v;
  return sum / double(t.count());
}
TEST(Random, DistributionsHaveTheirMoments) {
  Graph t;
  Value shape = t.g.ints({100, 200});
  Tensors y = t.run({t.g.add(mil::random_bernoulli{.shape = shape, .prob = Scalar{fp16, 0.25}}),
                     t.g.add(mil::random_normal{.shape = shape, .mean = Scalar{fp32, 3}, .stddev = Scalar{fp32, 0.5}}),
                     t.g.add(mil::random_uniform{.shape = shape, .low = Scalar{fp16, 1}, .high = Scalar{fp16, 1.25}}),
                     t.g.add(mil::random_categorical{
                         .x = t.input(fp32, {1, 3}, {std::log(0.5), std::log(0.25), std::log(0.25)}), .size = 20000})});
  EXPECT_EQ(y[0].dtype(), fp16);
  EXPECT_NEAR(mean_of(y[0]), 0.25, 0.01);
  EXPECT_NEAR(mean_of(y[1]), 3, 0.02);
  double variance = 0;
  for (double v : y[1].numbers()) variance += (v - 3) * (v - 3) / double(y[1].count());
  EXPECT_NEAR(variance, 0.25, 0.01);
  for (double v : y[2].numbers()) ASSERT_TRUE(v >= 1 && v < 1.25) << v;
  EXPECT_NEAR(mean_of(y[3]), 0.75, 0.02);
}
TEST(Random, ASeedRepeats) {
  Graph t;
  mil::random_normal op{.shape = t.g.ints({8}), .seed = 3};
  Value a = t.g.add(op), b = t.g.add(op);
  op.seed = -1;
  Value c = t.g.add(op), d = t.g.add(op);
  Tensors y = t.run({a, b, c, d});
  EXPECT_TRUE(y[0].same_bits(y[1]));
  EXPECT_FALSE(y[2].same_bits(y[3]));
}
TEST(Random, ShapeKnownOnlyWhenRunning) {
  Graph t;
  Value y = t.g.add(mil::random_uniform{.shape = t.input(int32, {2}, {3, 2})});
  EXPECT_EQ(y.rank(), 2u);
  EXPECT_EQ(t.run({y})[0].sizes(), (Sizes{3, 2}));
  Graph u;
  EXPECT_EQ(u.error({u.g.add(mil::random_uniform{.shape = u.g.ints({3, -2})})}),
            "the result would have the negative size -2");
}

}  // namespace
}  // namespace pomona
