#include "llm/encoder.h"

#include <algorithm>
#include <cmath>

#include "llm/blocks.h"
#include "ops/activation.h"
#include "ops/attention.h"
#include "ops/elementwise_binary.h"
#include "ops/elementwise_unary.h"
#include "ops/gather_scatter.h"
#include "ops/linear.h"
#include "ops/reduction.h"
#include "ops/shape.h"
#include "ops/tensor_operation.h"

namespace pomona::llm {
namespace {

// Added to scores of padding.
constexpr double closed_score = -1e4;

class EncoderFunction {
 public:
  EncoderFunction(const Encoder& e, Weights& weights, const Checkpoint& checkpoint, const BuildOptions& options,
                  Function& function)
      : e_(e),
        checkpoint_(checkpoint),
        options_(options),
        function_(function),
        b_(function, weights, options.engine, options.dtype),
        g_(b_.g) {}

  Status build() {
    // Here batches of any size; a package takes one text, of any length or, for the Neural Engine, a fixed one.
    batch_ = options_.in_memory ? Dim::named("batch") : Dim(1);
    tokens_ = options_.engine == Engine::ane ? Dim(options_.context) : Dim::named("tokens");
    ids_ = add_input("input_ids");
    attends_ = add_input("attention_mask");
    if (!e_.type_embedding.empty()) types_ = add_input("token_type_ids");
    make_masks();
    Value x = b_.from_rows(embedded());
    for (std::int64_t i = 0; i < e_.layers; ++i) {
      g_.source = "layer " + std::to_string(i);
      x = layer(x, i);
    }
    g_.source.clear();
    Value rows = b_.to_rows(x);
    Values results{b_.add_output(rows, "last_hidden_state")};
    if (!checkpoint_.sentence_steps.empty())
      results.push_back(b_.add_output(sentence(rows), "sentence_embedding"));
    else if (auto head = std::find_if(e_.tasks.begin(), e_.tasks.end(), [&](const TaskHead& h) { return has(h); });
             head != e_.tasks.end())
      add_head(*head, rows, results);
    POM_TRY(Status(g_.status()));
    function_.body.set_results(results);
    return {};
  }

 private:
  Value add_input(const std::string& name) {
    Feature feature;
    feature.name = name;
    feature.dtype = DType::int32;
    constexpr std::int64_t usual = 128;
    feature.shape = {1, tokens_.known() ? options_.context : std::min(usual, options_.context)};
    if (!tokens_.known()) feature.ranges = {{1, options_.in_memory ? -1 : 1}, {1, options_.context}};
    function_.inputs.push_back(feature);
    return function_.body.add_input(name, tensor_type(DType::int32, {batch_, tokens_}));
  }

  // The vector [batch, tokens, rest...].
  Value sizes(const Ints& rest) {
    if (!sizes_) sizes_ = g_.add(mil::shape{.x = ids_});
    return b_.concat({sizes_, g_.ints(rest)}, 0);
  }
  // [batch, heads, tokens, width]
  Value heads(Value x) {
    std::int64_t width = e_.hidden / e_.heads;
    if (options_.engine == Engine::ane) return b_.heads(x, e_.heads, width);
    Value apart = g_.add(mil::reshape{.x = x, .shape = sizes({e_.heads, width})});
    return b_.transpose(apart, {0, 2, 1, 3});
  }
  Value channels(Value heads) {
    if (options_.engine == Engine::ane) return b_.reshape(b_.transpose(heads, {0, 1, 3, 2}), {1, e_.hidden, 1, -1});
    return g_.add(mil::reshape{.x = b_.transpose(heads, {0, 2, 1, 3}), .shape = sizes({e_.hidden})});
  }

  void make_masks() {
    Value open = g_.add(mil::greater{.x = attends_, .y = g_.scalar(DType::int32, 0)});
    open_ = g_.add(mil::expand_dims{.x = open, .axes = Ints{1, 2}});
    added_ = g_.add(mil::select{.cond = open_, .a = g_.scalar(b_.dtype, 0), .b = g_.scalar(b_.dtype, closed_score)});
  }

  Value embedded() {
    Value x = b_.table(e_.embedding + ".weight", ids_);
    Value count =
        g_.add(mil::gather{.x = g_.add(mil::shape{.x = ids_}), .indices = g_.scalar(DType::int32, 1), .axis = 0});
    Value first = g_.scalar(DType::int32, double(e_.first_position));
    Value places = g_.add(mil::range_1d{
        .end = g_.add(mil::add{.x = count, .y = first}), .start = first, .step = g_.scalar(DType::int32, 1)});
    if (types_) x = g_.add(mil::add{.x = x, .y = b_.table(e_.type_embedding + ".weight", types_)});
    x = g_.add(mil::add{.x = x, .y = b_.table(e_.position_embedding + ".weight", places)});
    Engine engine = std::exchange(b_.engine, Engine::gpu);  // still [1, T, channels]
    x = b_.norm(x, e_.embedding_norm, {NormKind::layer, e_.epsilon});
    b_.engine = engine;
    return x;
  }

  Value layer(Value x, std::int64_t number) {
    const LayerNames& n = e_.names;
    auto project = [&](Value v, const std::string& name) { return b_.linear(v, numbered(name, number)); };
    NormForm form{NormKind::layer, e_.epsilon};
    Value q = heads(project(x, n.query)), k = heads(project(x, n.key)), v = heads(project(x, n.value));
    Value y = project(channels(attend(q, k, v)), n.output);
    x = b_.norm(g_.add(mil::add{.x = x, .y = y}), numbered(n.attention_norm, number), form);
    y = project(b_.activation(project(x, n.up), e_.activation), n.down);
    return b_.norm(g_.add(mil::add{.x = x, .y = y}), numbered(n.mlp_norm, number), form);
  }

  Value attend(Value q, Value k, Value v) {
    if (options_.engine == Engine::gpu && options_.target >= Target::iOS18)
      return g_.add(mil::scaled_dot_product_attention{.query = q, .key = k, .value = v, .attn_mask = open_});
    q = b_.scaled(q, 1 / std::sqrt(double(e_.hidden) / double(e_.heads)));
    Value scores = g_.add(mil::matmul{.x = q, .y = k, .transpose_y = true});
    Value shares = g_.add(mil::softmax{.x = g_.add(mil::add{.x = scores, .y = added_}), .axis = -1});
    return g_.add(mil::matmul{.x = shares, .y = v});
  }

  // One vector per text, as the checkpoint's modules.json says.
  Value sentence(Value rows) {
    b_.engine = Engine::gpu;  // vectors have their channels last
    Value y;
    for (const SentenceStep& step : checkpoint_.sentence_steps) {
      if (step.kind == SentenceStep::Kind::pool) y = pooled(rows, step.poolings);
      if (step.kind == SentenceStep::Kind::normalize) y = normalised(y);
      if (step.kind == SentenceStep::Kind::layer_norm) y = b_.norm(y, step.weights, {NormKind::layer, 1e-5});
      if (step.kind == SentenceStep::Kind::dense) y = dense(y, step);
    }
    return y;
  }
  Value dense(Value x, const SentenceStep& step) {
    Value y = b_.linear(x, step.weights);
    if (!step.activation.empty()) y = b_.activation(y, step.activation);
    if (!step.residual) return y;
    return g_.add(mil::add{.x = y, .y = step.residual_weights.empty() ? x : b_.linear(x, step.residual_weights)});
  }
  Value normalised(Value y) {
    Value length = g_.add(mil::reduce_l2_norm{.x = y, .axes = Ints{-1}, .keep_dims = true});
    constexpr double smallest = 1e-6;
    return g_.add(mil::real_div{.x = y, .y = g_.add(mil::maximum{.x = length, .y = g_.scalar(b_.dtype, smallest)})});
  }
  Value pooled(Value rows, const std::vector<std::string>& ways) {
    Values vectors;
    for (const std::string& way : ways) {
      if (way == "cls") {
        vectors.push_back(g_.add(mil::gather{.x = rows, .indices = g_.scalar(DType::int32, 0), .axis = 1}));
      } else if (way == "max") {
        Value below = g_.add(mil::squeeze{.x = b_.reshape(added_, {0, 0, -1, 1}), .axes = Ints{1}});
        vectors.push_back(
            g_.add(mil::reduce_max{.x = g_.add(mil::add{.x = rows, .y = below}), .axes = Ints{1}, .keep_dims = false}));
      } else {
        Value shares = g_.add(mil::expand_dims{.x = shares_of_tokens(way), .axes = Ints{1}});
        vectors.push_back(g_.add(mil::squeeze{.x = g_.add(mil::matmul{.x = shares, .y = rows}), .axes = Ints{1}}));
      }
    }
    return vectors.size() == 1 ? vectors[0] : b_.concat(vectors, 1);
  }
  // How much each token counts, [batch, tokens].
  Value shares_of_tokens(const std::string& way) {
    Value marks = g_.add(mil::cast{.x = attends_, .dtype = std::string(name(b_.dtype))});
    auto over_sum = [&](Value x, double least) {
      Value sum = g_.add(mil::reduce_sum{.x = x, .axes = Ints{1}, .keep_dims = true});
      return g_.add(mil::maximum{.x = sum, .y = g_.scalar(b_.dtype, least)});
    };
    if (way == "mean") return g_.add(mil::real_div{.x = marks, .y = over_sum(marks, 1)});
    if (way == "mean_sqrt_len_tokens")
      return g_.add(mil::real_div{.x = marks, .y = g_.add(mil::sqrt{.x = over_sum(marks, 1)})});
    // From 1 on, as parts of the most there can be: sums of thousands are none of fp16's numbers.
    Value count =
        g_.add(mil::gather{.x = g_.add(mil::shape{.x = ids_}), .indices = g_.scalar(DType::int32, 1), .axis = 0});
    Value places = g_.add(mil::range_1d{.end = g_.add(mil::add{.x = count, .y = g_.scalar(DType::int32, 1)}),
                                        .start = g_.scalar(DType::int32, 1),
                                        .step = g_.scalar(DType::int32, 1)});
    Value parts = g_.add(mil::cast{.x = places, .dtype = std::string(name(b_.dtype))});
    double most = double(e_.positions);
    Value weighted = g_.add(mil::mul{.x = marks, .y = b_.scaled(parts, 1 / most)});
    if (way == "weightedmean") return g_.add(mil::real_div{.x = weighted, .y = over_sum(weighted, 1 / most)});
    if (way == "lasttoken") {
      Value last = g_.add(mil::reduce_max{.x = weighted, .axes = Ints{1}, .keep_dims = true});
      Value is_last = g_.add(mil::equal{.x = weighted, .y = last});
      return g_.add(mil::mul{.x = marks, .y = g_.add(mil::cast{.x = is_last, .dtype = std::string(name(b_.dtype))})});
    }
    return g_.refuse(fail("the checkpoint's pooling is '{}', which is not known", way)
                         .advise("a checkpoint whose pooling is one of cls, max, mean, mean_sqrt_len_tokens, "
                                 "weightedmean and lasttoken"));
  }

  bool has(const TaskHead& head) {
    auto there = [&](const std::string& name) { return name.empty() || b_.weights().has(name + ".weight"); };
    return there(head.dense) && there(head.norm) && (there(head.out) || head.tied);
  }
  void add_head(const TaskHead& head, Value rows, Values& results) {
    b_.engine = Engine::gpu;  // rows have their channels last
    Value x = rows;
    if (head.first_token) x = g_.add(mil::gather{.x = x, .indices = g_.scalar(DType::int32, 0), .axis = 1});
    if (!head.dense.empty()) x = b_.activation(b_.linear(x, head.dense), head.activation);
    if (!head.norm.empty()) x = b_.norm(x, head.norm, {NormKind::layer, e_.epsilon});
    if (head.output == TaskHead::Output::pooler) {
      results.push_back(b_.add_output(x, "pooler_output"));
      return;
    }
    bool own = b_.weights().has(head.out + ".weight");
    std::string bias = b_.weights().has(head.bias) ? head.bias : head.out + ".bias";
    Value y = g_.add(mil::linear{.x = x,
                                 .weight = b_.matrix((own ? head.out : e_.embedding) + ".weight"),
                                 .bias = b_.weights().has(bias) ? b_.plain(bias) : Value()},
                     head.out);
    // Both names may hold the same numbers.
    b_.weights().pass_over(head.out + ".bias");
    if (head.output == TaskHead::Output::logits) {
      results.push_back(b_.add_output(y, "logits"));
      return;
    }
    Values ends = g_.add_all(mil::split{.x = y, .num_splits = 2, .axis = -1});
    for (std::size_t i = 0; i < ends.size(); ++i)
      results.push_back(
          b_.add_output(g_.add(mil::squeeze{.x = ends[i], .axes = Ints{-1}}), i ? "end_logits" : "start_logits"));
  }

  const Encoder& e_;
  const Checkpoint& checkpoint_;
  const BuildOptions& options_;
  Function& function_;
  Blocks b_;
  Builder& g_;
  Dim batch_, tokens_;
  Value ids_, attends_, types_, open_, added_, sizes_;
};

}  // namespace

Result<Program> build_encoder(const Encoder& encoder, const Checkpoint& checkpoint, const BuildOptions& options,
                              BuildReport* report) {
  POM_REQUIRE(encoder.heads > 0 && encoder.hidden > 0 && encoder.hidden % encoder.heads == 0,
              "config.json has {} heads for a width of {}", encoder.heads, encoder.hidden);
  BuildOptions settled = options;
  if (settled.context == 0) settled.context = encoder.positions;
  POM_REQUIRE(settled.context <= encoder.positions, "the context is to be {}, but the model has {} positions",
              settled.context, encoder.positions);
  WeightsOptions from{encoder.prefixes,
                      encoder.ignored,
                      {options.target, options.dtype, options.in_memory},
                      options.engine == Engine::gpu && options.keep_quantised};
  Weights weights(checkpoint, from);
  Program program;
  Function& main = program.add_function("main", options.target);
  EncoderFunction function(encoder, weights, checkpoint, settled, main);
  POM_TRY(function.build());
  POM_TRY(weights.check());
  if (report) report->matrices = weights.lines();
  return program;
}

}  // namespace pomona::llm
