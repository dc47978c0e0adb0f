#include "ir/naming.h"

#include <algorithm>

#include "ir/op.h"

namespace pomona {
namespace {

constexpr std::string_view reserved[] = {"any",   "bool",  "program", "func",  "tensor", "list",   "dict",   "tuple",
                                         "true",  "false", "string",  "bf16",  "fp16",   "fp32",   "fp64",   "int8",
                                         "int16", "int32", "int64",   "uint8", "uint16", "uint32", "uint64", "state"};

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_reserved(std::string_view name) { return std::ranges::find(reserved, name) != std::end(reserved); }

}  // namespace

bool is_legal_name(std::string_view name) {
  return !name.empty() && is_letter(name[0]) && !is_reserved(name) &&
         std::ranges::all_of(name, [](char c) { return is_letter(c) || is_digit(c) || c == '@'; });
}

std::string plain_name(std::string_view name) {
  std::string plain(name);
  std::ranges::replace_if(plain, [](char c) { return !is_letter(c) && !is_digit(c); }, '_');
  return plain;
}

std::string legal_name(std::string_view name, std::string_view prefix) {
  if (is_legal_name(name)) return std::string(name);
  std::string legal;
  if (name.empty() || is_digit(name[0])) legal = prefix;
  legal += plain_name(name);
  return is_reserved(legal) ? legal + "_workaround" : legal;
}

std::string Names::unique(std::string name, std::unordered_set<std::string>& taken) {
  if (taken.insert(name).second) return name;
  std::size_t& number = next_number_[name];
  for (;; ++number) {
    std::string candidate = name + "_" + std::to_string(number);
    if (taken.insert(candidate).second) return candidate;
  }
}

std::string Names::fresh(std::string_view name) { return unique(legal_name(name, "var_"), taken_values_); }

void Names::name_block(const Block& block) {
  for (std::size_t i = 0; i < block.input_count(); ++i) {
    Value input = block.input(i);
    if (!values_.contains(&input.info()))
      values_[&input.info()] = unique(legal_name(input.name(), "var_"), taken_values_);
  }
  for (const auto& node : block.nodes()) {
    for (std::size_t i = 0; i < node->output_count(); ++i) {
      Value output = node->output(i);
      if (values_.contains(&output.info())) continue;
      std::string own = output.name();
      if (own.empty()) own = node->name;
      if (own.empty()) own = std::string(node->op->name) + "_0";
      values_[&output.info()] = unique(legal_name(own, "var_"), taken_values_);
    }
    std::string own = node->name;
    if (own.empty()) own = node->output_count() ? of(node->output()) : std::string(node->op->name) + "_0";
    nodes_[node.get()] = unique(legal_name(own, "op_"), taken_nodes_);
    for (const auto& inner : node->blocks) name_block(*inner);
  }
}

Names name_all(const Function& function) {
  Names names;
  auto keep = [&](Value value) {
    if (!names.values_.contains(&value.info())) names.values_[&value.info()] = names.fresh(value.name());
  };
  for (std::size_t i = 0; i < function.body.input_count(); ++i) keep(function.body.input(i));
  for (Value result : function.body.results()) keep(result);
  names.name_block(function.body);
  return names;
}

Result<Names> name_values(const Function& function) {
  Names names;
  auto keep = [&](Value value, const char* what) -> Status {
    POM_REQUIRE(is_legal_name(value.name()), "the name '{}' of an {} is not one that MIL allows", value.name(), what);
    auto [at, fresh] = names.values_.emplace(&value.info(), value.name());
    if (!fresh) return {};
    POM_REQUIRE(names.taken_values_.insert(value.name()).second, "two inputs or outputs are called '{}'", value.name());
    return {};
  };
  for (std::size_t i = 0; i < function.body.input_count(); ++i) POM_TRY(keep(function.body.input(i), "input"));
  for (Value result : function.body.results()) POM_TRY(keep(result, "output"));
  names.name_block(function.body);
  return names;
}

}  // namespace pomona
