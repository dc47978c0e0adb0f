#include <algorithm>
#include <unordered_map>

#include "ir/builder.h"
#include "ops/elementwise_unary.h"
#include "rewrite/passes/passes.h"

namespace pomona::rewrite {
namespace {

bool is_half(Value value) { return value.type().kind == Type::Kind::tensor && value.dtype() == DType::fp16; }

class SinglePass {
 public:
  explicit SinglePass(Function& function) : function_(function) {}
  Status run() { return convert(function_.body); }

 private:
  Status convert(Block& block) {
    Values wanted = block.results();
    std::vector<Type> types;
    for (Value result : wanted) types.push_back(result.type());
    for (auto at = block.nodes().begin(); at != block.nodes().end(); ++at) {
      Node& node = **at;
      for (auto& inner : node.blocks) POM_TRY(convert(*inner));
      if (node.op->structural) continue;
      if (stays_half(node)) {
        for (std::size_t i = 0; i < node.inputs().size(); ++i)
          if (auto half = half_of_.find(&node.inputs()[i].info()); half != half_of_.end())
            node.set_input(i, in_half(node.inputs()[i], half->second, node));
        continue;
      }
      for (std::size_t i = 0; i < node.inputs().size(); ++i)
        if (is_half(node.inputs()[i])) node.set_input(i, in_single(node.inputs()[i], block, node));
      std::vector<Type> before;
      for (std::size_t i = 0; i < node.output_count(); ++i) before.push_back(node.output(i).type());
      widen_attributes(node);
      POM_TRY_IN(infer_again(node), "{}", node.label());
      for (std::size_t i = 0; i < node.output_count(); ++i)
        if (before[i].dtype == DType::fp16 && node.output(i).dtype() == DType::fp32)
          half_of_[&node.output(i).info()] = Value();
    }
    return keep_results(block, types);
  }

  // What a block returns has the dtype it had: the name and type are what others know it by.
  Status keep_results(Block& block, const std::vector<Type>& types) {
    Values results = block.results();
    for (std::size_t i = 0; i < results.size(); ++i) {
      if (types[i].kind != Type::Kind::tensor || types[i].dtype != DType::fp16 || is_half(results[i])) continue;
      std::string own = results[i].name();
      Builder g(block);
      Value half = g.add(mil::cast{.x = results[i], .dtype = std::string("fp16")});
      POM_TRY_IN(Status(g.status()), "result '{}'", own);
      if (!block.owner()) {
        results[i].set_name(own + "_in_fp32");
        half.set_name(own);
      }
      results[i] = half;
    }
    block.set_results(results);
    return {};
  }

  // Ops that take no fp32 (what updates a state, lists of fp16), and those whose kind of value is no tensor.
  bool stays_half(const Node& node) const {
    for (std::size_t i = 0; i < node.op->inputs.size(); ++i) {
      const InputRule& rule = OpDef::rule(node.op->inputs[i]);
      for (Value input : node.inputs_of(i)) {
        if (input.type().kind != Type::Kind::tensor) return true;
        bool floating = is_half(input) || half_of_.count(&input.info());
        if (floating && rule.var.id != '*' && !rule.var.domain.accepts(DType::fp32, function_.opset)) return true;
      }
    }
    return false;
  }

  Value in_single(Value value, Block& block, Node& user) {
    auto known = single_of_.find(&value.info());
    if (known != single_of_.end()) return known->second;
    Node* producer = value.producer();
    Block& home = value.block() ? *value.block() : block;
    Node* place = producer ? home.next(*producer) : home.nodes().empty() ? &user : home.nodes().front().get();
    Builder g(home, place);
    std::string wanted_name = value.name();
    if (std::string_view made_half = "_to_fp16"; wanted_name.ends_with(made_half))
      wanted_name.resize(wanted_name.size() - made_half.size());
    else if (!wanted_name.empty())
      wanted_name += "_to_fp32";
    const Weight* weight = value.literal();
    Value result = weight ? g.constant(Weight::cast(*weight, DType::fp32), wanted_name)
                          : g.add(mil::cast{.x = value, .dtype = std::string("fp32")}, wanted_name);
    single_of_[&value.info()] = result;
    return result;
  }
  static Value in_half(Value value, Value& known, Node& user) {
    if (known) return known;
    Block& home = value.block() ? *value.block() : *user.block();
    Builder g(home, value.producer() ? home.next(*value.producer()) : &user);
    return known = g.add(mil::cast{.x = value, .dtype = std::string("fp16")});
  }

  // Scalars with a dtype of their own, and what a cast makes.
  static void widen_attributes(Node& node) {
    if (node.op->name == "cast" && node.attribute("dtype") == Attribute(std::string("fp16")))
      node.set_attribute("dtype", std::string("fp32"));
    for (Attribute& attribute : node.attributes)
      if (auto* pair = std::get_if<Floats>(&attribute); pair && pair->size() == 2 && (*pair)[0] == double(DType::fp16))
        (*pair)[0] = double(DType::fp32);
  }

  Function& function_;
  std::unordered_map<const ValueInfo*, Value> single_of_;  // of fp16 values
  std::unordered_map<const ValueInfo*, Value> half_of_;    // of values that are fp32 by now; made when needed
};

}  // namespace

Status use_single(Program& program) {
  for (auto& function : program.functions) POM_TRY_IN(SinglePass(*function).run(), "function '{}'", function->name);
  return {};
}

}  // namespace pomona::rewrite
