#include "ops/classify.h"

#include <algorithm>

#include "ops/axes.h"
#include "ops/catalogue.h"

namespace pomona::mil {
namespace {

std::size_t label_count(const IntsOrStrings& labels) {
  return std::visit([](const auto& list) { return list.size(); }, labels);
}
DType label_dtype(const IntsOrStrings& labels) {
  return std::holds_alternative<Ints>(labels) ? DType::int64 : DType::string;
}

// Labels [begin, begin + count) as a tensor of those sizes.
Tensor label_tensor(const IntsOrStrings& labels, std::size_t begin, std::size_t count, Sizes sizes) {
  if (const Strings* names = std::get_if<Strings>(&labels)) {
    auto first = names->begin() + std::ptrdiff_t(begin);
    return Tensor::strings(std::move(sizes), {first, first + std::ptrdiff_t(count)});
  }
  // Not through double, which has not all of int64.
  Tensor tensor(DType::int64, std::move(sizes));
  std::copy_n(std::get<Ints>(labels).begin() + std::ptrdiff_t(begin), count,
              tensor.mutable_view<std::int64_t>().begin());
  return tensor;
}

}  // namespace

Result<Types> classify::infer(const At&) const {
  std::size_t count = label_count(*classes);
  POM_REQUIRE(count > 0, "a classifier needs at least one class");
  Dim probability_count = element_count(probabilities.shape());
  POM_REQUIRE(may_equal(probability_count, std::int64_t(count)), "there are {} classes, but {} probabilities", count,
              probability_count.text());
  // Core ML declares the dictionary's values fp64, whatever the op's text says.
  Type dictionary{DType::fp64, {}, Type::Kind::dictionary};
  dictionary.key = label_dtype(*classes);
  return Types{tensor_type(dictionary.key, {}), dictionary};
}
Result<Tensors> classify::eval(const At& at) const {
  POM_TRY(infer(at));
  std::vector<double> values = probabilities.tensor().numbers();
  std::size_t best = 0;
  for (std::size_t i = 1; i < values.size(); ++i)
    if (values[i] > values[best] || values[best] != values[best]) best = i;
  std::int64_t count = std::int64_t(values.size());
  return Tensors{label_tensor(*classes, best, 1, {}),
                 Tensor::dictionary(label_tensor(*classes, 0, values.size(), {count}),
                                    Tensor::from_numbers(DType::fp64, {count}, values))};
}

std::vector<const OpDef*> classify_chapter() { return op_list<classify>(); }

}  // namespace pomona::mil
