#include <fmt/format.h>

#include <unordered_map>
#include <unordered_set>

#include "ir/border.h"
#include "ir/naming.h"
#include "rewrite/passes/passes.h"

namespace pomona::rewrite {
namespace {

std::string legal(const std::string& name) { return legal_name(name, "var_"); }

// What a value without a name does: "<node>_weight" for what a node takes as its weight, else the op that makes it.
std::string role_of(Value value) {
  const Node* user = value.users().empty() ? nullptr : value.users().front();
  if (value.literal() && user && user->op) {
    std::string name = user->output_count() ? user->output().name() : user->name;
    for (std::size_t i = 0; i < user->op->inputs.size() && !name.empty(); ++i)
      if (user->input(i) == value) return name + "_" + std::string(user->op->inputs[i]->name);
  }
  return std::string(value.producer()->op->name) + "_0";
}

// Hands out names; a taken one gets the first free number behind it.
class Names {
 public:
  bool has(const std::string& name) const { return taken_.contains(name); }
  std::string unique(const std::string& wanted) {
    std::string name = wanted;
    if (taken_.insert(name).second) return name;
    for (std::size_t& number = next_[wanted]; !taken_.insert(name).second; ++number)
      name = fmt::format("{}_{}", wanted, number);
    return name;
  }

 private:
  std::unordered_set<std::string> taken_;
  std::unordered_map<std::string, std::size_t> next_;  // of names asked for again: the next number to try
};

class Renamer {
 public:
  Renamer(Program& program, Function& function, std::vector<std::string>& sentences)
      : program_(program), function_(function), sentences_(sentences) {}

  void run() {
    // Borders choose first: their names are what users call the model by. Of these, names that may stay: another's new
    // name is then nobody's old one.
    for (bool may_stay : {true, false}) {
      for (std::size_t i = 0; i < function_.body.input_count(); ++i)
        name_border(function_.body.input(i), true, may_stay);
      for (Value result : function_.body.results()) name_border(result, false, may_stay);
    }
    rename_in(function_.body);
  }

 private:
  void name_border(Value value, bool is_input, bool may_stay) {
    if (borders_.contains(&value.info())) return;
    std::string before = value.name();
    if (may_stay && (before.empty() || legal(before) != before || names_.has(before))) return;
    borders_.insert(&value.info());
    std::string after = names_.unique(legal(before));
    if (before == after) return;
    value.set_name(after);
    auto& features = is_input ? function_.inputs : function_.outputs;
    for (Feature& feature : features)
      if (feature.name == before) feature.name = after;
    for (Feature& feature : function_.states)
      if (is_input && feature.name == before) feature.name = after;
    rename_source_feature(program_.metadata, is_input, before, after);
    sentences_.push_back(fmt::format("{} '{}' is called '{}'", is_input ? "input" : "output", before, after));
  }
  void rename_in(Block& block) {
    if (&block != &block.function().body)
      for (std::size_t i = 0; i < block.input_count(); ++i)
        block.input(i).set_name(names_.unique(legal(block.input(i).name())));
    for (auto& node : block.nodes()) {
      for (std::size_t i = 0; i < node->output_count(); ++i) {
        Value value = node->output(i);
        if (borders_.contains(&value.info())) continue;
        value.set_name(names_.unique(legal(value.name().empty() ? role_of(value) : value.name())));
      }
      std::string own = node->name.empty() && node->output_count() ? node->output().name() : legal(node->name);
      node->name = node_names_.unique(own);
      for (auto& inner : node->blocks) rename_in(*inner);
    }
  }

  Program& program_;
  Function& function_;
  std::vector<std::string>& sentences_;
  Names names_, node_names_;
  std::unordered_set<const ValueInfo*> borders_;
};

}  // namespace

std::vector<std::string> legal_names(Program& program) {
  std::vector<std::string> sentences;
  for (auto& function : program.functions) Renamer(program, *function, sentences).run();
  return sentences;
}

}  // namespace pomona::rewrite
