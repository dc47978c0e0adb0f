#include <algorithm>
#include <map>

#include "formats/onnx/lowering.h"
#include "ops/activation.h"
#include "ops/elementwise_binary.h"
#include "ops/elementwise_unary.h"
#include "ops/gather_scatter.h"
#include "ops/linear.h"
#include "ops/reduction.h"

// Ensembles of decision trees, as matrices: every decision at once, then each leaf's count of decisions that lead to
// it, then the values of the leaves that all decisions lead to.
namespace pomona::onnx {
namespace {

constexpr Text domain = "ai.onnx.ml";
constexpr int always = 1 << 30;
constexpr std::size_t most_nodes = 100'000;

struct Leaf {
  std::vector<std::pair<std::size_t, bool>> path;  // decisions, and which way
  std::vector<std::pair<std::int64_t, double>> values;
};
struct Decision {
  std::int64_t feature = 0;
  std::string mode;
  double value = 0;
};
struct Tree {
  std::vector<Decision> decisions;
  std::vector<Leaf> leaves;
};

Value vector_of(Lowering& g, DType dtype, const std::vector<double>& numbers) {
  return g.constant(Tensor::from_numbers(dtype, {std::int64_t(numbers.size())}, numbers));
}

Result<Value> decided(Lowering& g, Value columns, Value values, const std::string& mode) {
  if (mode == "BRANCH_LEQ") return g.add(mil::less_equal{.x = columns, .y = values});
  if (mode == "BRANCH_LT") return g.add(mil::less{.x = columns, .y = values});
  if (mode == "BRANCH_GTE") return g.add(mil::greater_equal{.x = columns, .y = values});
  if (mode == "BRANCH_GT") return g.add(mil::greater{.x = columns, .y = values});
  if (mode == "BRANCH_EQ") return g.add(mil::equal{.x = columns, .y = values});
  if (mode == "BRANCH_NEQ") return g.add(mil::not_equal{.x = columns, .y = values});
  return fail("decisions by '{}' are not supported", mode);
}

// [N, targets]: what the tree adds for each row of x.
Result<Value> sum_of(Lowering& g, Value x, const Tree& tree, std::int64_t targets) {
  auto decisions = std::int64_t(tree.decisions.size()), leaves = std::int64_t(tree.leaves.size());
  std::vector<double> outputs(std::size_t(leaves * targets));
  for (std::size_t l = 0; l < tree.leaves.size(); ++l)
    for (auto [target, value] : tree.leaves[l].values) {
      POM_REQUIRE(target >= 0 && target < targets, "a leaf has the target {} of {}", target, targets);
      outputs[l * std::size_t(targets) + std::size_t(target)] += value;
    }
  Value table = g.constant(Tensor::from_numbers(DType::fp32, {leaves, targets}, outputs));
  if (decisions == 0) return g.plus(g.times(g.slice(x, 1, 0, 1), 0), g.slice(table, 0, 0, 1));
  std::vector<double> features, values;
  for (const Decision& d : tree.decisions) {
    POM_REQUIRE(d.mode == tree.decisions[0].mode, "a tree decides in different ways, which is not supported");
    features.push_back(double(d.feature));
    values.push_back(d.value);
  }
  Value columns = g.add(mil::gather{.x = x, .indices = vector_of(g, DType::int32, features), .axis = 1});
  Value taken =
      g.cast(POM_TRY(decided(g, columns, vector_of(g, DType::fp32, values), tree.decisions[0].mode)), DType::fp32);
  std::vector<double> ways(std::size_t(decisions * leaves)), needed;
  for (std::size_t l = 0; l < tree.leaves.size(); ++l) {
    double yes = 0;
    for (auto [decision, way] : tree.leaves[l].path) {
      ways[decision * std::size_t(leaves) + l] = way ? 1 : -1;
      yes += way;
    }
    needed.push_back(yes);
  }
  Value matrix = g.constant(Tensor::from_numbers(DType::fp32, {decisions, leaves}, ways));
  Value counts = g.add(mil::matmul{.x = taken, .y = matrix});
  Value reached = g.cast(g.add(mil::equal{.x = counts, .y = vector_of(g, DType::fp32, needed)}), DType::fp32);
  return g.add(mil::matmul{.x = reached, .y = table});
}

Result<Value> sum_of_trees(Lowering& g, const InputField& X, const std::vector<Tree>& trees, std::int64_t targets) {
  Value x = g.cast(X.rank() == 1 ? g.expand_dims(X, {0}) : *X, DType::fp32);
  POM_REQUIRE(x && x.rank() == 2 && x.shape()[1].known(), "the input is no matrix of a known width");
  Value sum;
  for (const Tree& tree : trees) {
    for (const Decision& d : tree.decisions)
      POM_REQUIRE(d.feature >= 0 && d.feature < x.shape()[1].value(), "a decision looks at feature {} of {}", d.feature,
                  x.shape()[1].value());
    Value part = POM_TRY(sum_of(g, x, tree, targets));
    sum = sum ? g.plus(sum, part) : part;
  }
  POM_REQUIRE(sum, "there is no tree");
  return sum;
}

// The older operators' lists of nodes.
struct NodeLists {
  const Ints &trees, &nodes, &features, &yes, &no;
  const Strings& modes;
  const Floats& values;
  const Ints &leaf_trees, &leaf_nodes, &leaf_ids;
  const Floats& leaf_weights;

  Result<std::vector<Tree>> read() const {
    std::size_t count = nodes.size();
    POM_REQUIRE(count > 0 && count <= most_nodes && trees.size() == count && features.size() == count &&
                    yes.size() == count && no.size() == count && modes.size() == count && values.size() == count,
                "the lists of nodes differ in length");
    POM_REQUIRE(leaf_trees.size() == leaf_nodes.size() && leaf_ids.size() == leaf_nodes.size() &&
                    leaf_weights.size() == leaf_nodes.size(),
                "the lists of leaves differ in length");
    std::map<std::pair<std::int64_t, std::int64_t>, std::size_t> at;
    std::map<std::int64_t, std::int64_t> roots;
    for (std::size_t i = 0; i < count; ++i) {
      at[{trees[i], nodes[i]}] = i;
      roots.try_emplace(trees[i], nodes[i]);
    }
    std::map<std::size_t, std::vector<std::pair<std::int64_t, double>>> leaves;
    for (std::size_t i = 0; i < leaf_nodes.size(); ++i) {
      auto found = at.find({leaf_trees[i], leaf_nodes[i]});
      POM_REQUIRE(found != at.end(), "a leaf belongs to node {} of tree {}, which is not there", leaf_nodes[i],
                  leaf_trees[i]);
      leaves[found->second].emplace_back(leaf_ids[i], leaf_weights[i]);
    }
    std::vector<Tree> all;
    for (auto [tree, root] : roots) {
      Tree& made = all.emplace_back();
      std::vector<std::pair<std::size_t, Leaf>> pending{{at[{tree, root}], {}}};
      std::size_t visited = 0;
      while (!pending.empty()) {
        auto [i, leaf] = std::move(pending.back());
        pending.pop_back();
        POM_REQUIRE(++visited <= count, "tree {} goes in a circle", tree);
        if (modes[i] == "LEAF") {
          leaf.values = leaves[i];
          made.leaves.push_back(std::move(leaf));
          continue;
        }
        for (bool way : {true, false}) {
          auto next = at.find({tree, way ? yes[i] : no[i]});
          POM_REQUIRE(next != at.end(), "tree {} has no node {}", tree, way ? yes[i] : no[i]);
          Leaf further = leaf;
          further.path.emplace_back(made.decisions.size(), way);
          pending.emplace_back(next->second, std::move(further));
        }
        made.decisions.push_back({features[i], modes[i], values[i]});
      }
    }
    return all;
  }
};

struct TreeEnsembleRegressor {
  ONNX_IN(X);
  ONNX_ATTR(aggregate_function, std::string) = "SUM";
  ONNX_ATTR(base_values, Floats);
  ONNX_ATTR(n_targets, int) = 1;
  ONNX_ATTR(nodes_falsenodeids, Ints);
  ONNX_ATTR(nodes_featureids, Ints);
  ONNX_ATTR(nodes_hitrates, Floats);
  ONNX_ATTR(nodes_missing_value_tracks_true, Ints);
  ONNX_ATTR(nodes_modes, Strings);
  ONNX_ATTR(nodes_nodeids, Ints);
  ONNX_ATTR(nodes_treeids, Ints);
  ONNX_ATTR(nodes_truenodeids, Ints);
  ONNX_ATTR(nodes_values, Floats);
  ONNX_ATTR(post_transform, std::string) = "NONE";
  ONNX_ATTR(target_ids, Ints);
  ONNX_ATTR(target_nodeids, Ints);
  ONNX_ATTR(target_treeids, Ints);
  ONNX_ATTR(target_weights, Floats);
  Status lower(Lowering& g) const {
    POM_REQUIRE(*post_transform == "NONE" && (*aggregate_function == "SUM" || *aggregate_function == "AVERAGE"),
                "post_transform '{}' with aggregate_function '{}' is not supported", *post_transform,
                *aggregate_function);
    NodeLists lists{*nodes_treeids,      *nodes_nodeids, *nodes_featureids, *nodes_truenodeids,
                    *nodes_falsenodeids, *nodes_modes,   *nodes_values,     *target_treeids,
                    *target_nodeids,     *target_ids,    *target_weights};
    auto trees = POM_TRY(lists.read());
    Value y = POM_TRY(sum_of_trees(g, X, trees, *n_targets));
    if (*aggregate_function == "AVERAGE") y = g.over(y, double(trees.size()));
    if (!base_values->empty()) y = g.plus(y, vector_of(g, DType::fp32, *base_values));
    return g.result(y, Elem::float32);
  }
};

struct TreeEnsembleClassifier {
  ONNX_IN(X);
  ONNX_ATTR(base_values, Floats);
  ONNX_ATTR(class_ids, Ints);
  ONNX_ATTR(class_nodeids, Ints);
  ONNX_ATTR(class_treeids, Ints);
  ONNX_ATTR(class_weights, Floats);
  ONNX_ATTR(classlabels_int64s, Ints);
  ONNX_ATTR(classlabels_strings, Strings);
  ONNX_ATTR(nodes_falsenodeids, Ints);
  ONNX_ATTR(nodes_featureids, Ints);
  ONNX_ATTR(nodes_hitrates, Floats);
  ONNX_ATTR(nodes_missing_value_tracks_true, Ints);
  ONNX_ATTR(nodes_modes, Strings);
  ONNX_ATTR(nodes_nodeids, Ints);
  ONNX_ATTR(nodes_treeids, Ints);
  ONNX_ATTR(nodes_truenodeids, Ints);
  ONNX_ATTR(nodes_values, Floats);
  ONNX_ATTR(post_transform, std::string) = "NONE";
  Status lower(Lowering& g) const {
    POM_REQUIRE(classlabels_strings->empty() && classlabels_int64s->size() > 1,
                "labels that are strings are not supported");
    bool several =
        std::any_of(class_ids->begin(), class_ids->end(), [&](std::int64_t id) { return id != class_ids->front(); });
    POM_REQUIRE(several || classlabels_int64s->size() != 2, "binary ensembles with one score are not supported");
    NodeLists lists{*nodes_treeids,      *nodes_nodeids, *nodes_featureids, *nodes_truenodeids,
                    *nodes_falsenodeids, *nodes_modes,   *nodes_values,     *class_treeids,
                    *class_nodeids,      *class_ids,     *class_weights};
    auto trees = POM_TRY(lists.read());
    Value scores = POM_TRY(sum_of_trees(g, X, trees, std::int64_t(classlabels_int64s->size())));
    if (!base_values->empty()) scores = g.plus(scores, vector_of(g, DType::fp32, *base_values));
    Value best = g.add(mil::reduce_argmax{.x = scores, .axis = 1, .keep_dims = false});
    POM_TRY(g.result(g.add(mil::gather{.x = g.ints(*classlabels_int64s), .indices = best, .axis = 0}), Elem::int64));
    if (*post_transform == "SOFTMAX")
      scores = g.add(mil::softmax{.x = scores, .axis = -1});
    else if (*post_transform == "LOGISTIC")
      scores = g.add(mil::sigmoid{.x = scores});
    else
      POM_REQUIRE(*post_transform == "NONE", "post_transform is '{}', which is not supported", *post_transform);
    return g.result(scores, Elem::float32);
  }
};

}  // namespace

Rules ml_tree_chapter() {
  return {
      rule<TreeEnsembleClassifier>("TreeEnsembleClassifier", 1, always, domain),
      rule<TreeEnsembleRegressor>("TreeEnsembleRegressor", 1, always, domain),
  };
}

}  // namespace pomona::onnx
