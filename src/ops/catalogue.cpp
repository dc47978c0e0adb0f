#include "ops/catalogue.h"

#include <unordered_map>

namespace pomona::mil {
namespace {

constexpr std::vector<const OpDef*> (*chapters[])() = {
    activation_chapter,
    elementwise_unary_chapter,
    elementwise_binary_chapter,
    reduction_chapter,
    linear_chapter,
    conv_chapter,
    pool_chapter,
    norm_chapter,
    recurrent_chapter,
    image_chapter,
    nms_chapter,
    control_flow_chapter,
    list_chapter,
    classify_chapter,
    state_chapter,
    attention_chapter,
    constexpr_chapter,
    quantization_chapter,
    random_chapter,
    gather_scatter_chapter,
    shape_chapter,
    tensor_operation_chapter,
};

}  // namespace

const std::vector<const OpDef*>& catalogue() {
  static const std::vector<const OpDef*> all = [] {
    std::vector<const OpDef*> all{&const_op()};
    for (auto chapter : chapters)
      for (const OpDef* op : chapter()) all.push_back(op);
    return all;
  }();
  return all;
}

const OpDef* find_op(std::string_view name, Target opset) {
  static const auto by_name = [] {
    std::unordered_multimap<std::string_view, const OpDef*> map;
    for (const OpDef* op : catalogue()) map.emplace(op->name, op);
    return map;
  }();
  auto [first, last] = by_name.equal_range(name);
  for (; first != last; ++first)
    if (first->second->since <= opset && (first->second->until == never || opset < first->second->until))
      return first->second;
  return nullptr;
}

std::string nearest_op(std::string_view name) {
  std::vector<std::string_view> names;
  for (const OpDef* op : catalogue()) names.push_back(op->name);
  return nearest_word(name, names);
}

}  // namespace pomona::mil
