#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "formats/onnx/ml_classifier.h"
#include "ops/activation.h"
#include "ops/elementwise_binary.h"
#include "ops/elementwise_unary.h"
#include "ops/gather_scatter.h"
#include "ops/linear.h"
#include "ops/reduction.h"

// Ensembles of decision trees, as matrices: every decision at once, then each leaf's count of decisions that lead to
// it, then the values of the leaves that all decisions lead to. Of large ones the matrices would be too large: there
// all trees are walked down together, a level a step.
namespace pomona::onnx {
namespace {

constexpr Text domain = "ai.onnx.ml";
constexpr int always = 1 << 30;
constexpr std::size_t most_nodes = 2'000'000, most_steps = 1 << 26;  // of all paths from roots to leaves
constexpr std::size_t most_ways = 1 << 20;                           // elements of the matrices of leaves

struct Leaf {
  std::vector<std::pair<std::size_t, bool>> path;  // decisions, and which way
  std::vector<std::pair<std::int64_t, double>> values;
};
struct Decision {
  std::int64_t feature = 0;
  std::string mode;
  double value = 0;
  bool missing_is_true = false;  // where NaN goes
  std::vector<double> members;   // of BRANCH_MEMBER
};
struct Tree {
  std::vector<Decision> decisions;
  std::vector<Leaf> leaves;
};

Value vector_of(Lowering& g, DType dtype, const std::vector<double>& numbers) {
  return g.constant(Tensor::from_numbers(dtype, {std::int64_t(numbers.size())}, numbers));
}

// Whether each column is one of the numbers of its decision: [N, D].
Value is_member(Lowering& g, Value columns, const std::vector<Decision>& decisions) {
  std::size_t most = 0;
  for (const Decision& d : decisions) most = std::max(most, d.members.size());
  std::vector<double> table;
  for (const Decision& d : decisions)
    for (std::size_t k = 0; k < most; ++k)
      table.push_back(k < d.members.size() ? d.members[k] : std::numeric_limits<double>::quiet_NaN());
  Value sets =
      g.constant(Tensor::from_numbers(DType::fp32, {std::int64_t(decisions.size()), std::int64_t(most)}, table));
  Value same = g.add(mil::equal{.x = g.expand_dims(columns, {2}), .y = sets});
  Value any = g.add(mil::reduce_max{.x = g.cast(same, DType::int32), .axes = Ints{2}, .keep_dims = false});
  return g.cast(any, DType::boolean);
}

// An empty handle when the mode is no comparison with one number.
Value compared(Lowering& g, const std::string& mode, Value columns, Value values) {
  if (mode == "BRANCH_LEQ") return g.add(mil::less_equal{.x = columns, .y = values});
  if (mode == "BRANCH_LT") return g.add(mil::less{.x = columns, .y = values});
  if (mode == "BRANCH_GTE") return g.add(mil::greater_equal{.x = columns, .y = values});
  if (mode == "BRANCH_GT") return g.add(mil::greater{.x = columns, .y = values});
  if (mode == "BRANCH_EQ") return g.add(mil::equal{.x = columns, .y = values});
  if (mode == "BRANCH_NEQ") return g.add(mil::not_equal{.x = columns, .y = values});
  return {};
}

Result<Value> decided(Lowering& g, Value columns, const std::vector<Decision>& decisions) {
  const std::string& mode = decisions[0].mode;
  std::vector<double> numbers, missing;
  bool tracks = false;
  for (const Decision& d : decisions) {
    numbers.push_back(d.value);
    missing.push_back(d.missing_is_true);
    tracks = tracks || d.missing_is_true;
  }
  Value yes = mode == "BRANCH_MEMBER" ? is_member(g, columns, decisions)
                                      : compared(g, mode, columns, vector_of(g, DType::fp32, numbers));
  POM_REQUIRE(yes || !g.status(), "decisions by '{}' are not supported", mode);
  if (!tracks) return yes;
  Value unknown = g.add(mil::not_equal{.x = columns, .y = columns});
  Value onward =
      g.cast(g.constant(Tensor::from_numbers(DType::int32, {std::int64_t(missing.size())}, missing)), DType::boolean);
  return g.add(mil::logical_or{.x = yes, .y = g.add(mil::logical_and{.x = unknown, .y = onward})});
}

// Decisions of one kind stand together; those of a tree that has several are put in a row, kind by kind.
Result<Value> all_decided(Lowering& g, Value x, const Tree& tree, std::vector<std::size_t>& place) {
  std::map<std::string, std::vector<std::size_t>> kinds;
  for (std::size_t i = 0; i < tree.decisions.size(); ++i) kinds[tree.decisions[i].mode].push_back(i);
  place.assign(tree.decisions.size(), 0);
  std::size_t next = 0;
  Values parts;
  for (const auto& [mode, numbers] : kinds) {
    std::vector<double> features;
    std::vector<Decision> decisions;
    for (std::size_t i : numbers) {
      place[i] = next++;
      decisions.push_back(tree.decisions[i]);
      features.push_back(double(tree.decisions[i].feature));
    }
    Value columns = g.add(mil::gather{.x = x, .indices = vector_of(g, DType::int32, features), .axis = 1});
    parts.push_back(g.cast(POM_TRY(decided(g, columns, decisions)), DType::fp32));
  }
  return g.concat(parts, 1);
}

// [N, 1] of int32; whole numbers, as 0 times NaN is NaN.
Value noughts(Lowering& g, Value x) { return g.times(g.cast(g.slice(x, 1, 0, 1), DType::int32), 0); }

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
  if (decisions == 0) return g.plus(g.cast(noughts(g, x), DType::fp32), g.slice(table, 0, 0, 1));
  std::vector<std::size_t> place;
  Value taken = POM_TRY(all_decided(g, x, tree, place));
  std::vector<double> ways(std::size_t(decisions * leaves)), needed;
  for (std::size_t l = 0; l < tree.leaves.size(); ++l) {
    double yes = 0;
    for (auto [decision, way] : tree.leaves[l].path) {
      ways[place[decision] * std::size_t(leaves) + l] = way ? 1 : -1;
      yes += way;
    }
    needed.push_back(yes);
  }
  Value matrix = g.constant(Tensor::from_numbers(DType::fp32, {decisions, leaves}, ways));
  Value counts = g.add(mil::matmul{.x = taken, .y = matrix});
  Value reached = g.cast(g.add(mil::equal{.x = counts, .y = vector_of(g, DType::fp32, needed)}), DType::fp32);
  return g.add(mil::matmul{.x = reached, .y = table});
}

// Nodes of all trees in a row, decisions before leaves in each; a leaf leads to itself.
struct Forest {
  std::vector<double> roots, features, values, missing, yes, no, outputs;
  std::string mode;
  std::size_t depth = 0;
  bool tracks = false;

  Status add(const Tree& tree, std::int64_t targets) {
    std::size_t first = features.size(), decisions = tree.decisions.size(), count = decisions + tree.leaves.size();
    roots.push_back(double(first));
    for (std::size_t i = 0; i < count; ++i) {
      const Decision none;
      const Decision& d = i < decisions ? tree.decisions[i] : none;
      features.push_back(double(d.feature));
      values.push_back(d.value);
      missing.push_back(d.missing_is_true);
      tracks = tracks || d.missing_is_true;
      yes.push_back(double(first + i));
      no.push_back(double(first + i));
    }
    outputs.resize((first + count) * std::size_t(targets));
    for (std::size_t l = 0; l < tree.leaves.size(); ++l) {
      const Leaf& leaf = tree.leaves[l];
      depth = std::max(depth, leaf.path.size());
      for (std::size_t i = 0; i < leaf.path.size(); ++i) {
        auto [decision, way] = leaf.path[i];
        std::size_t next = i + 1 < leaf.path.size() ? leaf.path[i + 1].first : decisions + l;
        (way ? yes : no)[first + decision] = double(first + next);
      }
      for (auto [target, value] : leaf.values) {
        POM_REQUIRE(target >= 0 && target < targets, "a leaf has the target {} of {}", target, targets);
        outputs[(first + decisions + l) * std::size_t(targets) + std::size_t(target)] += value;
      }
    }
    return {};
  }
};

// [N, targets]: from each root as many steps as the deepest leaf is away.
Result<Value> walked(Lowering& g, Value x, const Forest& forest, std::int64_t targets) {
  auto count = std::int64_t(forest.features.size());
  auto of = [&](DType dtype, const std::vector<double>& numbers) { return vector_of(g, dtype, numbers); };
  Value features = of(DType::int32, forest.features), values = of(DType::fp32, forest.values);
  Value yes = of(DType::int32, forest.yes), no = of(DType::int32, forest.no), missing;
  if (forest.tracks) missing = of(DType::int32, forest.missing);
  auto looked_up = [&](Value table, Value at) { return g.add(mil::gather{.x = table, .indices = at, .axis = 0}); };
  Value at = g.plus(noughts(g, x), g.expand_dims(of(DType::int32, forest.roots), {0}));
  for (std::size_t step = 0; step < forest.depth && g.status(); ++step) {
    Value columns = g.add(mil::gather_along_axis{.x = x, .indices = looked_up(features, at), .axis = 1});
    Value way = compared(g, forest.mode, columns, looked_up(values, at));
    POM_REQUIRE(way || !g.status(), "decisions by '{}' are not supported", forest.mode);
    if (missing) {
      Value unknown = g.add(mil::not_equal{.x = columns, .y = columns});
      Value onward = g.add(mil::equal{.x = looked_up(missing, at), .y = g.integer(1)});
      way = g.add(mil::logical_or{.x = way, .y = g.add(mil::logical_and{.x = unknown, .y = onward})});
    }
    at = g.select(way, looked_up(yes, at), looked_up(no, at));
  }
  Value table = g.constant(Tensor::from_numbers(DType::fp32, {count, targets}, forest.outputs));
  return g.add(mil::reduce_sum{.x = looked_up(table, at), .axes = Ints{1}, .keep_dims = false});
}

// Whether the trees are walked down: their matrices would be large, and all decisions are of one kind.
bool is_to_be_walked(const std::vector<Tree>& trees) {
  std::size_t ways = 0;
  const std::string* mode = nullptr;
  for (const Tree& tree : trees) {
    ways += tree.decisions.size() * tree.leaves.size();
    for (const Decision& d : tree.decisions) {
      if (!mode) mode = &d.mode;
      if (d.mode != *mode || d.mode == "BRANCH_MEMBER") return false;
    }
  }
  return ways > most_ways;
}

Result<Value> sum_of_trees(Lowering& g, const InputField& data, const std::vector<Tree>& trees, std::int64_t targets) {
  Value x = g.cast(data.rank() == 1 ? g.expand_dims(data, {0}) : *data, DType::fp32);
  POM_REQUIRE(x && x.rank() == 2 && x.shape()[1].known(), "the input is no matrix of a known width");
  for (const Tree& tree : trees)
    for (const Decision& d : tree.decisions)
      POM_REQUIRE(d.feature >= 0 && d.feature < x.shape()[1].value(), "a decision looks at feature {} of {}", d.feature,
                  x.shape()[1].value());
  if (is_to_be_walked(trees)) {
    Forest forest;
    for (const Tree& tree : trees) {
      POM_TRY(forest.add(tree, targets));
      if (!tree.decisions.empty()) forest.mode = tree.decisions[0].mode;
    }
    return walked(g, x, forest, targets);
  }
  Value sum;
  for (const Tree& tree : trees) {
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
  const Ints& missing;
  const Ints &leaf_trees, &leaf_nodes, &leaf_ids;
  const Floats& leaf_weights;

  Result<std::vector<Tree>> read() const {
    std::size_t count = nodes.size();
    POM_REQUIRE(count <= most_nodes, "the trees have {} nodes, more than {}", count, most_nodes);
    POM_REQUIRE(count > 0 && trees.size() == count && features.size() == count && yes.size() == count &&
                    no.size() == count && modes.size() == count && values.size() == count,
                "the lists of nodes differ in length");
    POM_REQUIRE(missing.empty() || missing.size() == count, "the lists of nodes differ in length");
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
    std::size_t steps = 0;
    for (auto [tree, root] : roots) {
      Tree& made = all.emplace_back();
      std::vector<std::pair<std::size_t, Leaf>> pending{{at[{tree, root}], {}}};
      std::size_t visited = 0;
      while (!pending.empty()) {
        auto [i, leaf] = std::move(pending.back());
        pending.pop_back();
        POM_REQUIRE(++visited <= count, "tree {} goes in a circle", tree);
        steps += leaf.path.size();
        POM_REQUIRE(steps <= most_steps, "the paths through tree {} are too long", tree);
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
        made.decisions.push_back({features[i], modes[i], values[i], !missing.empty() && missing[i] != 0, {}});
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
    NodeLists lists{*nodes_treeids,      *nodes_nodeids,  *nodes_featureids, *nodes_truenodeids,
                    *nodes_falsenodeids, *nodes_modes,    *nodes_values,     *nodes_missing_value_tracks_true,
                    *target_treeids,     *target_nodeids, *target_ids,       *target_weights};
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
    ClassLabels labels{*classlabels_int64s, *classlabels_strings};
    POM_REQUIRE(labels.size() > 1 && !class_ids->empty(), "there are {} labels", labels.size());
    NodeLists lists{*nodes_treeids,      *nodes_nodeids, *nodes_featureids, *nodes_truenodeids,
                    *nodes_falsenodeids, *nodes_modes,   *nodes_values,     *nodes_missing_value_tracks_true,
                    *class_treeids,      *class_nodeids, *class_ids,        *class_weights};
    auto trees = POM_TRY(lists.read());
    std::int64_t only = class_ids->front();
    bool several = std::any_of(class_ids->begin(), class_ids->end(), [&](std::int64_t id) { return id != only; });
    Value scores = POM_TRY(sum_of_trees(g, X, trees, std::int64_t(labels.size())));
    if (several || labels.size() != 2) {
      bool complete = !base_values->empty() || every_class_scored(trees, labels.size());
      POM_REQUIRE(labels.size() > 2,
                  "there are scores for both of two classes, whose label is the better one's to the specification and "
                  "what the second score's sign says to ONNX Runtime");
      Value scored;
      if (!complete) scored = POM_TRY(sum_of_trees(g, X, presences(trees), std::int64_t(labels.size())));
      if (!base_values->empty()) scores = g.plus(scores, vector_of(g, DType::fp32, *base_values));
      return give_best_class(g, scores, labels, *post_transform, scored);
    }
    // One score for two classes.
    POM_REQUIRE(base_values->size() < 2, "{} base values for one score", base_values->size());
    Value score = g.slice(scores, 1, only, only + 1);
    if (only == 0 && !base_values->empty()) score = g.plus(score, (*base_values)[0]);
    bool positive = std::all_of(class_weights->begin(), class_weights->end(), [](double w) { return w >= 0; });
    FirstScore first = only == 1 ? FirstScore::zero : positive ? FirstScore::one_less : FirstScore::negative;
    return give_two_classes(g, score, positive ? 0.5 : 0, first, labels, *post_transform);
  }

 private:
  // Whether each class has a tree of which every leaf says something about it.
  static bool every_class_scored(const std::vector<Tree>& trees, std::size_t classes) {
    auto says = [](const Leaf& leaf, std::size_t c) {
      return std::any_of(leaf.values.begin(), leaf.values.end(),
                         [&](const auto& value) { return value.first == std::int64_t(c); });
    };
    for (std::size_t c = 0; c < classes; ++c)
      if (std::none_of(trees.begin(), trees.end(), [&](const Tree& tree) {
            return std::all_of(tree.leaves.begin(), tree.leaves.end(), [&](const Leaf& leaf) { return says(leaf, c); });
          }))
        return false;
    return true;
  }
  static std::vector<Tree> presences(std::vector<Tree> trees) {
    for (Tree& tree : trees)
      for (Leaf& leaf : tree.leaves)
        for (auto& value : leaf.values) value.second = 1;
    return trees;
  }
};

// The operator that took the place of both: nodes and leaves are lists of their own, and a decision may be by
// membership.
struct TreeEnsemble {
  ONNX_IN(X);
  ONNX_ATTR(aggregate_function, int) = 1;
  ONNX_ATTR(leaf_targetids, Ints, .required = true);
  ONNX_TENSOR(leaf_weights, .required = true);
  ONNX_TENSOR(membership_values);
  ONNX_ATTR(n_targets, int) = 1;
  ONNX_ATTR(nodes_falseleafs, Ints, .required = true);
  ONNX_ATTR(nodes_falsenodeids, Ints, .required = true);
  ONNX_ATTR(nodes_featureids, Ints, .required = true);
  ONNX_TENSOR(nodes_hitrates);
  ONNX_ATTR(nodes_missing_value_tracks_true, Ints);
  ONNX_TENSOR(nodes_modes, .required = true);
  ONNX_TENSOR(nodes_splits, .required = true);
  ONNX_ATTR(nodes_trueleafs, Ints, .required = true);
  ONNX_ATTR(nodes_truenodeids, Ints, .required = true);
  ONNX_ATTR(post_transform, int) = 0;
  ONNX_ATTR(tree_roots, Ints, .required = true);

  static Result<std::vector<double>> numbers(Lowering& g, const TensorField& field) {
    if (!field) return std::vector<double>();
    Weight weight = POM_TRY(stored_weight(*field.proto, g.graphs().files()));
    return POM_TRY(weight.materialise()).numbers();
  }
  // The numbers of each decision by membership stand one after the other, NaN behind each lot.
  Result<std::vector<Decision>> decisions(Lowering& g) const {
    static constexpr const char* names[] = {"BRANCH_LEQ", "BRANCH_LT",  "BRANCH_GTE",   "BRANCH_GT",
                                            "BRANCH_EQ",  "BRANCH_NEQ", "BRANCH_MEMBER"};
    auto modes = POM_TRY(numbers(g, nodes_modes)), splits = POM_TRY(numbers(g, nodes_splits)),
         members = POM_TRY(numbers(g, membership_values));
    const Ints& missing = *nodes_missing_value_tracks_true;
    std::size_t count = modes.size(), next = 0;
    POM_REQUIRE(count <= most_nodes, "the trees have {} nodes, more than {}", count, most_nodes);
    POM_REQUIRE(count > 0 && splits.size() == count && nodes_featureids->size() == count &&
                    nodes_truenodeids->size() == count && nodes_falsenodeids->size() == count &&
                    nodes_trueleafs->size() == count && nodes_falseleafs->size() == count &&
                    (missing.empty() || missing.size() == count),
                "the lists of nodes differ in length");
    std::vector<Decision> all;
    for (std::size_t i = 0; i < count; ++i) {
      POM_REQUIRE(modes[i] >= 0 && modes[i] < double(std::size(names)), "a node decides by the mode {}", modes[i]);
      Decision& d = all.emplace_back();
      d = {(*nodes_featureids)[i], names[std::size_t(modes[i])], splits[i], !missing.empty() && missing[i] != 0, {}};
      if (d.mode != "BRANCH_MEMBER") continue;
      while (next < members.size() && !std::isnan(members[next])) d.members.push_back(members[next++]);
      ++next;
      POM_REQUIRE(!d.members.empty(), "a decision by membership has no numbers");
    }
    return all;
  }
  Result<Tree> tree_at(std::int64_t root, const std::vector<Decision>& decisions,
                       const std::vector<double>& weights) const {
    struct Step {
      std::int64_t node;
      bool leaf;
      Leaf path;
    };
    Tree tree;
    std::vector<Step> pending{{root, false, {}}};
    while (!pending.empty()) {
      Step step = std::move(pending.back());
      pending.pop_back();
      auto at = std::size_t(step.node);
      if (step.leaf) {
        POM_REQUIRE(step.node >= 0 && at < weights.size() && at < leaf_targetids->size(), "there is no leaf {}",
                    step.node);
        step.path.values = {{(*leaf_targetids)[at], weights[at]}};
        tree.leaves.push_back(std::move(step.path));
        continue;
      }
      POM_REQUIRE(step.node >= 0 && at < decisions.size(), "there is no node {}", step.node);
      POM_REQUIRE(tree.decisions.size() <= decisions.size(), "a tree goes in a circle");
      for (bool way : {true, false}) {
        Leaf further = step.path;
        further.path.emplace_back(tree.decisions.size(), way);
        pending.push_back({way ? (*nodes_truenodeids)[at] : (*nodes_falsenodeids)[at],
                           (way ? (*nodes_trueleafs)[at] : (*nodes_falseleafs)[at]) != 0, std::move(further)});
      }
      tree.decisions.push_back(decisions[at]);
    }
    return tree;
  }
  Status lower(Lowering& g) const {
    POM_REQUIRE(*aggregate_function == 0 || *aggregate_function == 1, "aggregate_function {} is not supported",
                *aggregate_function);
    POM_REQUIRE(*n_targets > 0 && !tree_roots->empty(), "there are {} targets and {} trees", *n_targets,
                tree_roots->size());
    auto all = POM_TRY(decisions(g));
    auto weights = POM_TRY(numbers(g, leaf_weights));
    std::vector<Tree> trees;
    for (std::int64_t root : *tree_roots) trees.push_back(POM_TRY(tree_at(root, all, weights)));
    Value y = POM_TRY(sum_of_trees(g, X, trees, *n_targets));
    if (*aggregate_function == 0) y = g.over(y, double(trees.size()));
    if (*post_transform == 1) y = g.add(mil::softmax{.x = y, .axis = -1});
    if (*post_transform == 2) y = g.add(mil::sigmoid{.x = y});
    POM_REQUIRE(*post_transform >= 0 && *post_transform <= 2, "post_transform {} is not supported", *post_transform);
    return g.result(g.cast(y, X.dtype()), X.elem());
  }
};

}  // namespace

Rules ml_tree_chapter() {
  return {
      rule<TreeEnsemble>("TreeEnsemble", 5, always, domain),
      rule<TreeEnsembleClassifier>("TreeEnsembleClassifier", 1, always, domain),
      rule<TreeEnsembleRegressor>("TreeEnsembleRegressor", 1, always, domain),
  };
}

}  // namespace pomona::onnx
