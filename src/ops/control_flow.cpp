#include "ops/control_flow.h"

#include "ops/axes.h"
#include "ops/catalogue.h"

namespace pomona::mil {
namespace {

Result<const Node*> node_with_blocks(const At& at, const char* op) {
  if (!at.node || at.node->blocks.size() != 2)
    return fail("{} needs two blocks, but has {}", op, at.node ? at.node->blocks.size() : 0);
  return at.node;
}

// A block may be entered with a value of this type: dtype, kind and rank are equal, and no known dimension differs.
Status check_entry(const Type& given, const Type& declared, std::size_t i) {
  bool fits = given.kind == declared.kind && given.dtype == declared.dtype && given.rank() == declared.rank();
  // The elements of a list that has not been written to yet may have size 0 in place of an unknown size.
  bool list = given.kind == Type::Kind::list;
  for (std::size_t d = 0; fits && d < given.rank(); ++d)
    fits = may_equal(given.shape[d], declared.shape[d]) || (list && given.shape[d] == 0);
  POM_REQUIRE(fits, "loop variable {} is {}, but the input of the loop's block is {}", i, given.text(),
              declared.text());
  return {};
}

}  // namespace

Result<Type> join_types(const Type& a, const Type& b) {
  POM_REQUIRE(a.kind == b.kind && a.dtype == b.dtype && a.rank() == b.rank() && a.key == b.key,
              "{} and {} differ in more than their sizes", a.text(), b.text());
  Type joined = a;
  for (std::size_t d = 0; d < a.rank(); ++d)
    if (!(a.shape[d] == b.shape[d])) joined.shape[d] = Dim::unknown();
  if (!(a.length == b.length)) joined.length = Dim::unknown();
  return joined;
}

Result<Types> cond::infer(const At& at) const {
  const Node& node = *POM_TRY(node_with_blocks(at, "cond"));
  POM_REQUIRE(pred.rank() == 0 || element_count(pred.shape()) == 1, "pred has shape {}, but one bool is needed",
              to_string(pred.shape()));
  const Block &yes = *node.blocks[0], &no = *node.blocks[1];
  POM_REQUIRE(yes.input_count() == 0 && no.input_count() == 0, "a block of a cond has inputs");
  POM_REQUIRE(yes.results().size() == no.results().size(), "the first block has {} results, but the second has {}",
              yes.results().size(), no.results().size());
  Types types;
  for (std::size_t i = 0; i < yes.results().size(); ++i)
    types.push_back(POM_TRY_IN(join_types(yes.results()[i].type(), no.results()[i].type()), "result {}", i));
  return types;
}
Result<Tensors> cond::eval(const At& at) const {
  POM_TRY(infer(at));
  POM_REQUIRE(at.interpreter, "cond can only be used while a program runs");
  return at.interpreter->run(*at.node->blocks[pred.tensor().number(0) != 0 ? 0 : 1], {});
}

Result<Types> while_loop::infer(const At& at) const {
  const Node& node = *POM_TRY(node_with_blocks(at, "while_loop"));
  const Block &condition = *node.blocks[0], &body = *node.blocks[1];
  std::size_t count = loop_vars.size();
  POM_REQUIRE(condition.input_count() == count && body.input_count() == count && body.results().size() == count,
              "there are {} loop variables, but the condition takes {}, the body takes {} and returns {}", count,
              condition.input_count(), body.input_count(), body.results().size());
  POM_REQUIRE(condition.results().size() == 1 && condition.results()[0].dtype() == DType::boolean &&
                  condition.results()[0].type().kind == Type::Kind::tensor,
              "the condition of a loop must return one bool");
  Dim answers = element_count(condition.results()[0].shape());
  POM_REQUIRE(may_equal(answers, 1), "the condition of a loop returns {} bools, not one", answers.text());
  Types types;
  for (std::size_t i = 0; i < count; ++i) {
    const Type &before = loop_vars.type(i), &after = body.results()[i].type(), &entry = body.input(i).type();
    POM_TRY(check_entry(before, condition.input(i).type(), i));
    POM_TRY(check_entry(before, entry, i));
    POM_TRY(check_entry(after, condition.input(i).type(), i));
    POM_TRY(check_entry(after, entry, i));
    types.push_back(POM_TRY_IN(join_types(before, after), "loop variable {}", i));
  }
  return types;
}
Result<Tensors> while_loop::eval(const At& at) const {
  POM_TRY(infer(at));
  POM_REQUIRE(at.interpreter, "while_loop can only be used while a program runs");
  Tensors variables;
  for (std::size_t i = 0; i < loop_vars.size(); ++i) variables.push_back(loop_vars.tensor(i));
  for (;;) {
    Tensors answer = POM_TRY(at.interpreter->run(*at.node->blocks[0], variables));
    POM_REQUIRE(answer.size() == 1 && answer[0].count() == 1, "the condition of a loop did not return one bool");
    if (answer[0].number(0) == 0) return variables;
    variables = POM_TRY(at.interpreter->run(*at.node->blocks[1], variables));
  }
}

std::vector<const OpDef*> control_flow_chapter() { return op_list<cond, while_loop>(); }

}  // namespace pomona::mil
