#include "llm/checkpoints/taken.h"

#include <algorithm>
#include <numeric>

#include "base/half.h"

namespace pomona::llm {
namespace {

// A matrix whose column i is column order[i] of the result.
Weight in_order(const Weight& matrix, const std::vector<std::size_t>& order, const std::string& what) {
  return Weight::derived({"columns in their own order, " + what,
                          matrix.dtype(),
                          matrix.sizes(),
                          {matrix},
                          [order](std::span<const Tensor> in) -> Result<Tensor> {
                            Tensor out(DType::fp32, in[0].sizes());
                            auto from = in[0].view<float>();
                            auto to = out.mutable_view<float>();
                            for (std::size_t i = 0; i < to.size(); ++i)
                              to[i / order.size() * order.size() + order[i % order.size()]] = from[i];
                            return out;
                          }});
}

}  // namespace

std::vector<std::string> Taken::modules(const std::string& suffix) const {
  std::vector<std::string> found;
  for (const auto& [name, tensor] : raw_)
    if (name.size() > suffix.size() && name.ends_with(suffix))
      found.push_back(name.substr(0, name.size() - suffix.size()));
  return found;
}

Result<Weight> Taken::take(const std::string& name, const Sizes& sizes) {
  auto found = raw_.find(name);
  POM_REQUIRE(found != raw_.end(), "there is no tensor '{}'", name);
  const Sizes& actual = found->second.weight.sizes();
  bool fits = actual.size() == sizes.size();
  for (std::size_t d = 0; fits && d < sizes.size(); ++d) fits = sizes[d] < 0 || sizes[d] == actual[d];
  POM_REQUIRE(fits, "'{}' has the sizes {}, not {}", name, to_string(actual), to_string(sizes));
  bytes += found->second.bytes;
  Weight weight = found->second.weight;
  raw_.erase(found);
  return weight;
}

Result<Weight> Taken::take(const std::string& name, const Sizes& sizes, DType dtype) {
  Weight weight = POM_TRY(take(name, sizes));
  POM_REQUIRE(info(weight.dtype()).bits == info(dtype).bits && is_float(weight.dtype()) == is_float(dtype),
              "'{}' holds {}, not {}", name, pomona::name(weight.dtype()), pomona::name(dtype));
  return weight;
}

Result<std::int64_t> group_of(std::int64_t columns, std::int64_t groups, std::int64_t stated) {
  if (stated > 0 && stated <= columns && (columns + stated - 1) / stated == groups) return stated;
  POM_REQUIRE(groups > 0 && columns > 0 && columns % groups == 0, "{} columns do not divide into {} groups", columns,
              groups);
  return columns / groups;
}

float number_of(const Tensor& tensor, std::size_t index) {
  switch (tensor.dtype()) {
    case DType::fp32:
      return tensor.view<float>()[index];
    case DType::fp16:
      return half_to_float(tensor.view<std::uint16_t>()[index]);
    case DType::bf16:
      return bfloat16_to_float(tensor.view<std::uint16_t>()[index]);
    default:
      return float(tensor.number(index));
  }
}

Result<std::vector<std::size_t>> column_order(const Weight& group_index, std::int64_t groups, std::int64_t group) {
  Tensor index = POM_TRY(group_index.materialise());
  std::vector<std::int64_t> of = index.integers();
  // Some writers leave it unused and fill it with -1.
  if (std::all_of(of.begin(), of.end(), [](auto g) { return g == -1; })) return std::vector<std::size_t>();
  std::vector<std::int64_t> count(std::size_t(groups), 0);
  for (std::int64_t g : of) {
    POM_REQUIRE(g >= 0 && g < groups, "'g_idx' names group {} of {}", g, groups);
    ++count[std::size_t(g)];
  }
  for (std::int64_t g = 0; g < groups; ++g) {
    std::int64_t wanted = std::min(group, std::int64_t(of.size()) - g * group);
    POM_REQUIRE(count[std::size_t(g)] == wanted, "'g_idx' has {} columns in group {}, not {}", count[std::size_t(g)], g,
                wanted);
  }
  std::vector<std::size_t> order(of.size());
  std::iota(order.begin(), order.end(), std::size_t(0));
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return of[a] < of[b]; });
  if (std::is_sorted(order.begin(), order.end())) order.clear();
  return order;
}

// Kept codes would have their columns in another order than the values that they are to be multiplied with.
CheckpointTensor tensor_in_order(const Quantised& quantised, const std::vector<std::size_t>& columns,
                                 std::uint64_t bytes) {
  if (columns.empty()) return tensor_of(quantised, bytes);
  Weight values = in_order(decoded(quantised), columns, quantised.what);
  std::string storage = quantised.storage + " in order of importance";
  CheckpointTensor tensor = tensor_of(values, storage, bytes);
  tensor.keep = [values, storage](const KeepOptions& options) -> Result<EncodedWeight> {
    EncodedWeight plain;
    plain.operands = {Weight::cast(values, options.decoded)};
    plain.scheme = std::string(name(options.decoded));
    plain.note = storage + " decoded: the columns of a block are not neighbours";
    return plain;
  };
  return tensor;
}

}  // namespace pomona::llm
