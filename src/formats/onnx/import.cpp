#include "formats/onnx/import.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <tuple>
#include <unordered_map>

#include "formats/onnx/classifier_end.h"
#include "formats/onnx/custom.h"
#include "formats/onnx/lowering.h"
#include "formats/onnx/sort.h"
#include "ir/border.h"
#include "ir/walk.h"
#include "ops/tensor_operation.h"

namespace pomona::onnx {
namespace {

// Operator sets up to this one have been gone through for changes of meaning.
constexpr std::int64_t newest_opset = 28;
// Functions call functions; nobody nests deeper.
constexpr int deepest_call = 64;
// Nodes after inlining; functions that call functions could make any number of them.
constexpr std::size_t most_nodes = 500'000;
// Core ML takes five dims; files have more before they are rewritten, but not this many.
constexpr std::size_t most_dims = 32;
// Refused nodes that one message tells of.
constexpr std::size_t most_refusals = 20;

// Operator sets by domain, "" for ai.onnx.
using Opsets = std::map<Text, std::int64_t>;
Opsets opsets_of(const std::vector<OperatorSetId>& imports) {
  Opsets opsets;
  for (const OperatorSetId& id : imports) opsets[id.domain == "ai.onnx" ? Text() : id.domain] = id.version;
  return opsets;
}
Text plain_domain(Text domain) { return domain == "ai.onnx" ? Text() : domain; }

struct Scope {
  const Scope* outer = nullptr;
  std::unordered_map<Text, Entry> entries;
  const Opsets* opsets = nullptr;
  const std::vector<AttributeProto>* arguments = nullptr;  // of the function this is the body of
  const std::vector<AttributeProto>* defaults = nullptr;

  const Entry* find(Text name) const {
    for (const Scope* scope = this; scope; scope = scope->outer)
      if (auto at = scope->entries.find(name); at != scope->entries.end()) return &at->second;
    return nullptr;
  }
};

struct Missing {
  std::size_t count = 0;
  std::string first;
};

std::string shape_text(const ValueInfoProto& info) {
  if (!info.has_shape) return "?";
  std::string text = "[";
  for (const DimensionProto& d : info.shape) {
    if (text.size() > 1) text += ", ";
    text += d.dim_value ? std::to_string(*d.dim_value) : d.dim_param.empty() ? "?" : std::string(d.dim_param);
  }
  return text + "]";
}

// Integers of two bits are bytes to whoever uses the model.
std::string border_dtype(int data_type) {
  const ElemInfo* elem = find_elem(data_type);
  if (elem && elem->packed_bits && elem->bits) return std::string(name(elem->stored));
  return std::string(elem_name(data_type));
}

// Operators whose results are elements of their inputs, or are rounded already.
bool only_moves(Text op) {
  static const std::set<Text> names{
      "Cast",      "CastLike", "Clip",   "Compress", "Concat",  "Constant",  "ConstantOfShape", "DepthToSpace",
      "Expand",    "Flatten",  "Gather", "GatherND", "If",      "Identity",  "GatherElements",  "Loop",
      "Max",       "MaxPool",  "Min",    "Neg",      "Pad",     "ReduceMax", "ReduceMin",       "Relu",
      "Reshape",   "Scan",     "Abs",    "Slice",    "Sign",    "Split",     "SpaceToDepth",    "Squeeze",
      "Tile",      "TopK",     "Trilu",  "Unique",   "Where",   "Transpose", "Unsqueeze",       "ScatterND",
      "Attention", "OneHot",   "Floor",  "Ceil",     "Dropout", "Round",     "ReverseSequence", "ScatterElements",
      "EyeLike",   "Range"};
  return names.count(op) != 0;
}

// Arithmetic on bfloat16 is done in fp32; what follows sees its results as bfloat16 holds them.
Result<std::vector<Entry>> rounded_outputs(Lowering& g, Text op) {
  std::vector<Entry> outputs = g.outputs();
  bool wide = op == "Attention" || op == "Softmax";
  for (const Entry& output : outputs)
    POM_REQUIRE(
        !wide || output.elem != Elem::bfloat16,
        "in bfloat16 the result depends on how each sum is rounded; a float16 or float32 model can be converted");
  if (only_moves(op)) return outputs;
  for (Entry& output : outputs)
    if (output.elem == Elem::bfloat16 && output.value && is_float(output.value.dtype()))
      output.value = g.rounded_to(output.value, Elem::bfloat16);
  if (!g.status()) return g.status().error();
  return outputs;
}

// Where two names of sizes meet in an elementwise op, the result has either's.
EqualSizes sizes_taken_for_equal(const Block& body) {
  std::set<std::pair<std::string, std::string>> pairs;
  auto meet = [&](const Shape& a, const Shape& b) {
    for (std::size_t i = 1; i <= std::min(a.size(), b.size()); ++i) {
      auto one = a[a.size() - i].symbol(), other = b[b.size() - i].symbol();
      if (one && other && *one != *other) pairs.insert(std::minmax(*one, *other));
    }
  };
  each_node(body, [&](const Node& node) {
    if (!node.op->elementwise) return;
    const Values& inputs = node.inputs();
    for (std::size_t i = 1; i < inputs.size(); ++i)
      for (std::size_t k = 0; k < i; ++k) meet(inputs[i].shape(), inputs[k].shape());
  });
  return {pairs.begin(), pairs.end()};
}

class Importer final : public GraphLowering {
 public:
  Importer(const ModelProto& model, const std::string& folder, const ImportOptions& options)
      : model_(model), options_(options), files_(folder, model.file), opsets_(opsets_of(model.opset_import)) {
    for (const FunctionProto& f : model.functions)
      functions_.try_emplace({plain_domain(f.domain), f.name, f.overload}, &f);
  }

  Result<Program> run() {
    POM_REQUIRE(!opsets_.empty(), "the model names no operator set");
    auto version = opsets_.find(Text());
    POM_REQUIRE(version == opsets_.end() || version->second <= newest_opset,
                "the model uses operator set {}; {} is the newest one known", version->second, newest_opset);
    for (const auto& [name, tensor] : options_.constants)
      POM_REQUIRE(std::any_of(model_.graph.input.begin(), model_.graph.input.end(),
                              [&](const ValueInfoProto& input) { return input.name == name; }),
                  "a constant is given for '{}', but the model has no such input", name);
    POM_TRY(check_coverage());
    Program program;
    Function& main = program.add_function("main", options_.target);
    POM_TRY(bind_symbols());
    Scope scope;
    scope.opsets = &opsets_;
    POM_TRY(add_initializers(model_.graph, main.body, scope));
    POM_TRY(add_inputs(program, main, scope));
    POM_TRY(lower_nodes(model_.graph.node, main.body, scope));
    POM_TRY(refusal());
    POM_TRY(add_outputs(program, main, scope));
    note_equal_sizes(program.metadata, sizes_taken_for_equal(main.body));
    drop_unused(main.body);
    program.metadata.user[std::string(source_format_key)] = "onnx";
    for (auto [key, value] : model_.metadata_props) program.metadata.user.try_emplace(std::string(key), value);
    program.metadata.description = model_.doc_string;
    note_assumptions(program.metadata, assumptions_);
    return program;
  }

  // The size that would have to be 1 for the classifier at the model's end; empty when that is not the trouble.
  const std::string& open_rows() const { return open_rows_; }
  void take_for_one_row(const std::string& size) {
    symbols_[size] = 1;
    assume(fmt::format("size '{}' is 1: a classifier's label in words, and its map of scores, are those of one row",
                       size));
  }

  TensorFiles& files() override { return files_; }
  void assume(std::string sentence) override {
    if (std::find(assumptions_.begin(), assumptions_.end(), sentence) == assumptions_.end())
      assumptions_.push_back(std::move(sentence));
  }
  Result<std::vector<Entry>> lower_graph(const GraphProto& graph, Block& block,
                                         const std::vector<Entry>& inputs) override;

 private:
  const FunctionProto* find_function(const NodeProto& node) const;
  const CustomOp* custom_op(const NodeProto& node) const {
    Text domain = plain_domain(node.domain);
    std::string name = domain.empty() ? std::string(node.op_type) : fmt::format("{}::{}", domain, node.op_type);
    auto at = options_.custom_ops.find(name);
    if (at == options_.custom_ops.end()) return nullptr;
    custom_seen_.insert(name);
    return &at->second;
  }
  Status check_coverage() const;
  void note_missing(const std::vector<NodeProto>& nodes, const Opsets& opsets, std::map<std::string, Missing>& missing,
                    std::vector<const FunctionProto*>& called) const;
  Status refusal() const;

  Status bind_symbols();
  Dim dim_of(const DimensionProto& d, Text input, std::size_t axis) const;
  Result<Entry> initializer(const TensorProto& tensor, Block& block);
  Status add_initializers(const GraphProto& graph, Block& block, Scope& scope);
  Status add_inputs(Program& program, Function& main, Scope& scope);
  Status add_outputs(Program& program, Function& main, Scope& scope);
  static void drop_unused(Block& block);

  Status lower_nodes(const std::vector<NodeProto>& nodes, Block& block, Scope& scope);
  Status lower_node(const NodeProto& node, std::size_t index, Block& block, Scope& scope);
  Result<NodeCall> call_of(const NodeProto& node, std::size_t index, const Scope& scope, bool& poisoned) const;
  Result<std::vector<Entry>> inline_function(const FunctionProto& function, const NodeCall& call, Block& block);

  std::vector<std::string> assumptions_;
  std::string open_rows_;
  mutable std::set<std::string> custom_seen_;  // operators of the user's that the model has
  const ModelProto& model_;
  const ImportOptions& options_;
  TensorFiles files_;
  Opsets opsets_;
  std::map<std::tuple<Text, Text, Text>, const FunctionProto*> functions_;  // by domain, name, overload
  std::map<std::string, Dim> symbols_;                                      // fixed by given shapes
  const Scope* scope_ = nullptr;                                            // of the node in hand
  int call_depth_ = 0;
  std::size_t lowered_ = 0;
  std::vector<Error> refused_;
};

const FunctionProto* Importer::find_function(const NodeProto& node) const {
  auto at = functions_.find({plain_domain(node.domain), node.op_type, node.overload});
  return at == functions_.end() ? nullptr : at->second;
}

void Importer::note_missing(const std::vector<NodeProto>& nodes, const Opsets& opsets,
                            std::map<std::string, Missing>& missing, std::vector<const FunctionProto*>& called) const {
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    const NodeProto& node = nodes[i];
    for (const AttributeProto& a : node.attribute)
      if (a.g) note_missing(a.g->node, opsets, missing, called);
    if (const FunctionProto* function = find_function(node)) {
      called.push_back(function);
      continue;
    }
    auto opset = opsets.find(plain_domain(node.domain));
    std::int64_t version = opset == opsets.end() ? 1 : opset->second;
    if (custom_op(node)) continue;
    if (find_rule(node.domain, node.op_type, version)) continue;
    std::string name = plain_domain(node.domain).empty() ? std::string(node.op_type)
                                                         : fmt::format("{}::{}", node.domain, node.op_type);
    Missing& entry = missing[fmt::format("{} (operator set {})", name, version)];
    if (entry.count++ == 0) entry.first = source_of(node, i);
  }
}

Status Importer::check_coverage() const {
  std::map<std::string, Missing> missing;
  std::vector<const FunctionProto*> called;
  std::set<const FunctionProto*> seen;
  note_missing(model_.graph.node, opsets_, missing, called);
  while (!called.empty()) {
    const FunctionProto* function = called.back();
    called.pop_back();
    if (seen.insert(function).second) note_missing(function->node, opsets_of(function->opset_import), missing, called);
  }
  for (const auto& [name, op] : options_.custom_ops)
    POM_REQUIRE(custom_seen_.count(name), "a lowering is given for '{}', but no node of the model is one", name);
  if (missing.empty()) return {};
  std::string text = fmt::format("{} operator{} not supported:", missing.size(), missing.size() == 1 ? " is" : "s are");
  for (const auto& [name, entry] : missing)
    text += fmt::format("\n    {} x {}, first: {}", entry.count, name, entry.first);
  return fail("{}", text).advise("--custom-op DOMAIN::NAME=FILE.mil, for an operator that you can say in MIL");
}

Status Importer::refusal() const {
  if (refused_.empty()) return {};
  if (refused_.size() == 1) return refused_[0];
  std::string text = fmt::format("{} nodes cannot be converted:", refused_.size());
  for (std::size_t i = 0; i < std::min(refused_.size(), most_refusals); ++i) {
    text += "\n    ";
    for (std::size_t k = refused_[i].places.size(); k-- > 0;) text += refused_[i].places[k] + ": ";
    text += refused_[i].what;
  }
  if (refused_.size() > most_refusals) text += fmt::format("\n    and {} more", refused_.size() - most_refusals);
  return fail("{}", text);
}

Status Importer::bind_symbols() {
  for (const auto& [name, sizes] : options_.shapes) {
    const ValueInfoProto* input = nullptr;
    for (const ValueInfoProto& candidate : model_.graph.input)
      if (candidate.name == name) input = &candidate;
    // Of an output, a shape says nothing that the model does not.
    bool is_output = std::any_of(model_.graph.output.begin(), model_.graph.output.end(),
                                 [&name = name](const ValueInfoProto& output) { return output.name == name; });
    if (!input && is_output) continue;
    POM_REQUIRE(input, "a shape is given for '{}', but the model has no such input", name);
    POM_REQUIRE(!input->has_shape || input->shape.size() == sizes.size(),
                "the shape given for '{}' has rank {}, but the input has rank {}", name, sizes.size(),
                input->shape.size());
    for (std::size_t i = 0; i < sizes.size() && input->has_shape; ++i) {
      const DimensionProto& d = input->shape[i];
      POM_REQUIRE(!d.dim_value || *d.dim_value < 0 || sizes[i] < 0 || *d.dim_value == sizes[i],
                  "dim {} of '{}' is {} in the model, but {} is given", i, name, *d.dim_value, sizes[i]);
      if (d.dim_value || d.dim_param.empty() || sizes[i] < 0) continue;
      auto [at, fresh] = symbols_.try_emplace(std::string(d.dim_param), Dim(sizes[i]));
      POM_REQUIRE(fresh || at->second == sizes[i], "dimension '{}' is given as {} and as {}", d.dim_param,
                  at->second.text(), sizes[i]);
    }
  }
  return {};
}

Dim Importer::dim_of(const DimensionProto& d, Text input, std::size_t axis) const {
  if (d.dim_value && *d.dim_value >= 0) return *d.dim_value;
  std::string name = d.dim_param.empty() ? fmt::format("{}_{}", input, axis) : std::string(d.dim_param);
  auto at = symbols_.find(name);
  return at != symbols_.end() ? at->second : Dim::named(name);
}

Result<Entry> Importer::initializer(const TensorProto& tensor, Block& block) {
  Elem elem = POM_TRY_IN(elem_of(tensor), "initialiser '{}'", tensor.name);
  Weight stored = POM_TRY(stored_weight(tensor, files_));
  Weight weight = POM_TRY_IN(compute_weight(stored, elem), "initialiser '{}'", tensor.name);
  return Entry{Builder(block).constant(std::move(weight), std::string(tensor.name)), elem};
}

Status Importer::add_initializers(const GraphProto& graph, Block& block, Scope& scope) {
  POM_REQUIRE(graph.sparse_initializer.empty(), "the graph has sparse initialisers, which are not supported");
  for (const TensorProto& tensor : graph.initializer) {
    Entry entry = POM_TRY(initializer(tensor, block));
    POM_REQUIRE(scope.entries.try_emplace(tensor.name, entry).second, "initialiser '{}' is there twice", tensor.name);
  }
  return {};
}

Status Importer::add_inputs(Program& program, Function& main, Scope& scope) {
  for (const ValueInfoProto& input : model_.graph.input) {
    auto initial = scope.entries.find(input.name);
    std::optional<double> fallback;
    if (initial != scope.entries.end()) {
      if (model_.ir_version >= 4) fallback = initial->second.value.number();
      if (!fallback) continue;
      scope.entries.erase(initial);
    }
    POM_REQUIRE(input.kind != ValueInfoProto::Kind::sequence,
                "input '{}' is a sequence, of which the model does not say how many tensors it holds", input.name);
    POM_REQUIRE(input.kind == ValueInfoProto::Kind::tensor, "input '{}' is no tensor", input.name);
    const ElemInfo* elem = find_elem(input.elem_type);
    POM_REQUIRE(elem && elem->elem != Elem::string, "input '{}' holds {}, which is not supported", input.name,
                elem_name(input.elem_type));
    std::string name(input.name);
    if (auto given = options_.constants.find(name); given != options_.constants.end()) {
      POM_REQUIRE(given->second.dtype() == elem->stored, "input '{}' is {}, but the constant given for it is {}", name,
                  elem->name, pomona::name(given->second.dtype()));
      Weight weight = POM_TRY_IN(compute_weight(given->second, elem->elem), "input '{}'", name);
      scope.entries[input.name] = {Builder(main).constant(std::move(weight), name), elem->elem};
      continue;
    }
    Shape shape;
    if (auto given = options_.shapes.find(name); given != options_.shapes.end()) {
      for (std::size_t i = 0; i < given->second.size(); ++i)
        shape.push_back(given->second[i] >= 0 ? Dim(given->second[i])
                        : input.has_shape     ? dim_of(input.shape[i], input.name, i)
                                              : Dim::named(fmt::format("{}_{}", input.name, i)));
    } else {
      POM_REQUIRE(input.has_shape, "input '{}' has no shape, not even a rank; give one", input.name);
      for (std::size_t i = 0; i < input.shape.size(); ++i) shape.push_back(dim_of(input.shape[i], input.name, i));
    }
    POM_REQUIRE(shape.size() <= most_dims, "input '{}' has {} dims", input.name, shape.size());
    for (Dim d : shape) POM_REQUIRE(!d.known() || d.value() >= 0, "input '{}' has a negative size", input.name);
    Value value = main.body.add_input(name, tensor_type(elem->compute, shape));
    POM_REQUIRE(scope.entries.try_emplace(input.name, Entry{value, elem->elem}).second, "input '{}' is there twice",
                input.name);
    note_source_feature(program.metadata, {true, name, border_dtype(input.elem_type), shape_text(input), name});
    Feature feature;
    feature.name = name;
    feature.dtype = elem->compute;
    feature.optional = fallback.has_value();
    feature.default_value = fallback;
    feature.has_shape = all_known(shape);
    if (feature.has_shape) feature.shape = known_sizes(shape);
    main.inputs.push_back(std::move(feature));
  }
  return {};
}

Status Importer::add_outputs(Program& program, Function& main, Scope& scope) {
  Values results;
  ClassifierEnd classifier;
  for (const ValueInfoProto& output : model_.graph.output) {
    const Entry* entry = scope.find(output.name);
    POM_REQUIRE(entry && *entry, "output '{}' is made by no node", output.name);
    if (POM_TRY(classifier.takes(output.name, *entry))) continue;
    POM_REQUIRE(entry->value, "output '{}' is a sequence of {} tensors; a Core ML program gives tensors only",
                output.name, entry->items->size());
    Value value = entry->value;
    // An output is a value of its own: not an input, not a constant, not another output.
    bool taken = !value.producer() || value.literal() || value.name() != output.name ||
                 std::find(results.begin(), results.end(), value) != results.end();
    if (taken) value = Builder(main).add(mil::identity{.x = value}, std::string(output.name));
    results.push_back(value);
    Feature feature = feature_of(value);
    feature.name = std::string(output.name);
    main.outputs.push_back(std::move(feature));
    std::string dtype = border_dtype(output.elem_type ? output.elem_type : int(entry->elem));
    bool scalar = !output.has_shape && value.rank() == 0;
    note_source_feature(program.metadata, {false, std::string(output.name), dtype, scalar ? "[]" : shape_text(output),
                                           std::string(output.name)});
  }
  open_rows_ = classifier.open_rows();
  POM_TRY(classifier.finish(main, results));
  main.body.set_results(std::move(results));
  return {};
}

// Constants that folding has left without users, and what only they used.
void Importer::drop_unused(Block& block) {
  std::vector<Node*> nodes;
  for (const auto& node : block.nodes()) nodes.push_back(node.get());
  for (std::size_t i = nodes.size(); i-- > 0;) {
    Node& node = *nodes[i];
    for (const auto& inner : node.blocks) drop_unused(*inner);
    bool used = node.op->side_effects;
    for (std::size_t k = 0; k < node.output_count(); ++k) used = used || !node.output(k).users().empty();
    if (!used) block.erase(node);
  }
}

Result<NodeCall> Importer::call_of(const NodeProto& node, std::size_t index, const Scope& scope, bool& poisoned) const {
  NodeCall call;
  call.proto = &node;
  call.source = source_of(node, index);
  for (Text name : node.input) {
    if (name.empty()) {
      call.inputs.emplace_back();
      continue;
    }
    const Entry* entry = scope.find(name);
    POM_REQUIRE(entry, "input '{}' is made by no node", name);
    poisoned = poisoned || (!*entry && !entry->absent);
    call.inputs.push_back(*entry);
  }
  for (const AttributeProto& a : node.attribute) {
    if (a.ref_attr_name.empty()) {
      call.attributes.push_back(a);
      continue;
    }
    const AttributeProto* found = nullptr;
    for (const Scope* s = &scope; s && !found; s = s->outer) {
      for (auto* list : {s->arguments, s->defaults})
        if (list && !found)
          for (const AttributeProto& given : *list)
            if (given.name == a.ref_attr_name) found = &given;
    }
    if (!found) continue;  // neither given nor defaulted: the attribute is absent
    call.attributes.push_back(*found);
    call.attributes.back().name = a.name;
  }
  return call;
}

Status Importer::lower_nodes(const std::vector<NodeProto>& nodes, Block& block, Scope& scope) {
  std::vector<std::size_t> order = POM_TRY(sorted_nodes(nodes));
  for (std::size_t index : order) {
    auto done = lower_node(nodes[index], index, block, scope);
    if (done) continue;
    Error error = std::move(done).error();
    std::string place = source_of(nodes[index], index);
    if (std::find(error.places.begin(), error.places.end(), place) == error.places.end())
      error = std::move(error).in(place);
    refused_.push_back(std::move(error));
    // What depends on this node is passed over; other faults are still found.
    for (Text name : nodes[index].output)
      if (!name.empty()) scope.entries[name] = {};
  }
  return {};
}

Status Importer::lower_node(const NodeProto& node, std::size_t index, Block& block, Scope& scope) {
  POM_REQUIRE(++lowered_ <= most_nodes, "the model has more than {} nodes once its functions are inlined", most_nodes);
  bool poisoned = false;
  NodeCall call = POM_TRY(call_of(node, index, scope, poisoned));
  std::vector<Entry> outputs(node.output.size());
  if (!poisoned) {
    const Scope* outer = std::exchange(scope_, &scope);
    auto made = [&]() -> Result<std::vector<Entry>> {
      if (const FunctionProto* function = find_function(node)) return inline_function(*function, call, block);
      auto opset = scope.opsets->find(plain_domain(node.domain));
      std::int64_t version = opset == scope.opsets->end() ? 1 : opset->second;
      if (const CustomOp* custom = custom_op(node)) {
        Lowering g(block, call, int(version), *this);
        Status lowered = lower_custom(g, *custom);
        if (!g.status()) return g.status().error();
        if (!lowered) return std::move(lowered).error();
        return g.outputs();
      }
      const Rule* rule = find_rule(node.domain, node.op_type, version);
      POM_REQUIRE(rule, "there is no rule for this operator at operator set {}", version);
      Lowering g(block, call, int(version), *this);
      Status lowered = rule->lower(g, call);
      if (!g.status()) return g.status().error();
      if (!lowered) return std::move(lowered).error();
      return rounded_outputs(g, node.op_type);
    }();
    scope_ = outer;
    if (!made) return std::move(made).error();
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      if (node.output[i].empty()) continue;
      POM_REQUIRE(i < made->size() && ((*made)[i] || (*made)[i].absent), "output {} ('{}') is not supported", i,
                  node.output[i]);
      outputs[i] = (*made)[i];
    }
  }
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    if (node.output[i].empty()) continue;
    Value value = outputs[i].value;
    if (value && value.producer() && value.name().empty()) value.set_name(std::string(node.output[i]));
    POM_REQUIRE(scope.entries.try_emplace(node.output[i], outputs[i]).second, "'{}' is made twice", node.output[i]);
  }
  return {};
}

Result<std::vector<Entry>> Importer::lower_graph(const GraphProto& graph, Block& block,
                                                 const std::vector<Entry>& inputs) {
  Scope scope;
  scope.outer = scope_;
  scope.opsets = scope_->opsets;
  POM_REQUIRE(graph.input.size() == inputs.size(), "a subgraph has {} inputs, but {} are needed", graph.input.size(),
              inputs.size());
  for (std::size_t i = 0; i < inputs.size(); ++i) scope.entries[graph.input[i].name] = inputs[i];
  POM_TRY(add_initializers(graph, block, scope));
  POM_TRY(lower_nodes(graph.node, block, scope));
  std::vector<Entry> outputs;
  for (const ValueInfoProto& output : graph.output) {
    const Entry* entry = scope.find(output.name);
    POM_REQUIRE(entry, "output '{}' of a subgraph is made by no node", output.name);
    POM_REQUIRE(*entry || entry->absent, "a node of the subgraph cannot be converted");
    outputs.push_back(*entry);
  }
  return outputs;
}

Result<std::vector<Entry>> Importer::inline_function(const FunctionProto& function, const NodeCall& call,
                                                     Block& block) {
  POM_REQUIRE(call_depth_ < deepest_call, "function '{}' nests too deep, or calls itself", function.name);
  POM_REQUIRE(call.inputs.size() <= function.input.size(), "function '{}' takes {} inputs, but {} are given",
              function.name, function.input.size(), call.inputs.size());
  Opsets opsets = opsets_of(function.opset_import);
  Scope scope;
  scope.opsets = &opsets;
  scope.arguments = &call.attributes;
  scope.defaults = &function.attribute_proto;
  for (std::size_t i = 0; i < function.input.size(); ++i)
    scope.entries[function.input[i]] =
        i < call.inputs.size() && call.inputs[i] ? call.inputs[i] : Entry{.absent = true};
  std::size_t faults = refused_.size();
  ++call_depth_;
  Status lowered = lower_nodes(function.node, block, scope);
  --call_depth_;
  if (!lowered) return std::move(lowered).error();
  if (refused_.size() > faults) {
    Error first = std::move(refused_[faults]);
    refused_.resize(faults);
    return first;
  }
  std::vector<Entry> outputs;
  for (Text name : function.output) {
    const Entry* entry = scope.find(name);
    outputs.push_back(entry ? *entry : Entry{});
  }
  return outputs;
}

}  // namespace

Result<Program> read_onnx(const Bytes& file, const std::string& folder, const ImportOptions& options) {
  ModelProto model = POM_TRY(parse_model(file));
  constexpr std::size_t most_attempts = 64;
  std::vector<std::string> rows;
  while (true) {
    Importer importer(model, folder, options);
    for (const std::string& size : rows) importer.take_for_one_row(size);
    auto program = importer.run();
    if (program || importer.open_rows().empty() || rows.size() == most_attempts) return program;
    rows.push_back(importer.open_rows());
  }
}

Result<Program> read_onnx(const std::string& path, const ImportOptions& options) {
  Bytes file = POM_TRY_IN(map_file(path), "file '{}'", path);
  return POM_TRY_IN(read_onnx(file, std::filesystem::path(path).parent_path().string(), options), "file '{}'", path);
}

}  // namespace pomona::onnx
