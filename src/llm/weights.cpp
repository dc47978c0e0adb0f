#include "llm/weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "ir/op.h"

namespace pomona::llm {
namespace {

// Unknown tensors that one message names.
constexpr std::size_t most_named = 12;

bool is_ignored(const std::vector<std::string>& ignored, const std::string& name) {
  return std::any_of(ignored.begin(), ignored.end(), [&](const std::string& pattern) {
    if (pattern.ends_with('*')) return name.starts_with(pattern.substr(0, pattern.size() - 1));
    return name.ends_with(pattern);
  });
}

Weight rows_of(const Weight& weight, std::int64_t begin, std::int64_t end) {
  Sizes sizes = weight.sizes();
  sizes[0] = end - begin;
  return Weight::derived({.what = fmt::format("rows {} to {}", begin, end),
                          .dtype = weight.dtype(),
                          .sizes = sizes,
                          .inputs = {weight},
                          .apply = [sizes, begin](std::span<const Tensor> in) -> Result<Tensor> {
                            Tensor out(in[0].dtype(), sizes);
                            std::size_t row = sizes[0] ? out.size_bytes() / std::size_t(sizes[0]) : 0;
                            std::memcpy(out.mutable_data(), in[0].data() + std::size_t(begin) * row, out.size_bytes());
                            return out;
                          }});
}

Weight stacked(const std::vector<Weight>& weights) {
  Sizes sizes = weights[0].sizes();
  sizes.insert(sizes.begin(), std::int64_t(weights.size()));
  return Weight::derived({.what = "stacked",
                          .dtype = weights[0].dtype(),
                          .sizes = sizes,
                          .inputs = weights,
                          .apply = [sizes](std::span<const Tensor> in) -> Result<Tensor> {
                            Tensor out(in[0].dtype(), sizes);
                            std::uint8_t* to = out.mutable_data();
                            for (const Tensor& each : in) {
                              std::memcpy(to, each.data(), each.size_bytes());
                              to += each.size_bytes();
                            }
                            return out;
                          }});
}

}  // namespace

Weights::Weights(const Checkpoint& checkpoint, WeightsOptions options)
    : checkpoint_(checkpoint), options_(std::move(options)) {}

std::string Weights::full_name(const std::string& name) const {
  for (const std::string& prefix : options_.prefixes)
    if (checkpoint_.tensors.contains(prefix + name)) return prefix + name;
  return name;
}

const CheckpointTensor* Weights::find(const std::string& name) const {
  auto at = checkpoint_.tensors.find(full_name(name));
  return at == checkpoint_.tensors.end() ? nullptr : &at->second;
}

Result<Weight> Weights::plain(const std::string& name, DType dtype) {
  const CheckpointTensor* tensor = find(name);
  POM_REQUIRE(tensor, "the checkpoint has no tensor '{}'", name);
  Weight weight = Weight::cast(tensor->decoded, dtype);
  note(name, std::string(pomona::name(dtype)), "", weight.stored_size());
  return weight;
}

void Weights::note(const std::string& name, const std::string& scheme, const std::string& words, std::uint64_t bytes) {
  std::string full = full_name(name);
  if (!used_.insert(full).second) return;
  const CheckpointTensor& tensor = checkpoint_.tensors.at(full);
  lines_.push_back({full, tensor.storage, scheme, words, tensor.stored_bytes, bytes});
}

Result<EncodedWeight> Weights::matrix(const std::string& name) {
  if (auto at = kept_.find(name); at != kept_.end()) return at->second;
  const CheckpointTensor* tensor = find(name);
  POM_REQUIRE(tensor, "the checkpoint has no tensor '{}'", name);
  EncodedWeight weight;
  if (tensor->keep && options_.keep_quantised) {
    weight = POM_TRY_IN(tensor->keep(options_.keep), "tensor '{}'", name);
    note(name, weight.scheme, weight.note, stored_size(weight));
  } else {
    weight = plain_weight(POM_TRY(plain(name, options_.keep.decoded)), tensor->storage);
  }
  return kept_.emplace(name, std::move(weight)).first->second;
}

void Weights::pass_over(const std::string& name) { used_.insert(full_name(name)); }

Status Weights::check() {
  std::string unknown;
  std::size_t count = 0;
  for (const auto& [name, tensor] : checkpoint_.tensors) {
    if (used_.contains(name)) continue;
    if (is_ignored(options_.ignored, name)) {
      lines_.push_back({name, tensor.storage, "left out", "no output needs it", tensor.stored_bytes, 0});
      continue;
    }
    if (count++ < most_named) unknown += fmt::format("{}'{}'", unknown.empty() ? "" : ", ", name);
  }
  if (count > most_named) unknown += fmt::format(" and {} more", count - most_named);
  POM_REQUIRE(count == 0, "the checkpoint has {} that this family does not know: {}",
              count == 1 ? "a tensor" : fmt::format("{} tensors", count), unknown);
  return {};
}

EncodedWeight rows_of(const EncodedWeight& weight, std::int64_t begin, std::int64_t end) {
  EncodedWeight part = weight;
  std::int64_t rows = 0;
  for (const Weight& operand : weight.operands)
    if (operand && !operand.sizes().empty()) rows = std::max(rows, operand.sizes()[0]);
  // Scales and tables have a row for one or several of the matrix, or one for all.
  for (Weight& operand : part.operands) {
    if (!operand || operand.sizes().empty() || operand.sizes()[0] <= 1) continue;
    std::int64_t shared = rows / operand.sizes()[0];
    operand = rows_of(operand, begin / shared, (end + shared - 1) / shared);
  }
  if (weight.data) part.data = std::make_shared<EncodedWeight>(rows_of(*weight.data, begin, end));
  return part;
}

std::optional<EncodedWeight> stacked(const std::vector<EncodedWeight>& weights) {
  const EncodedWeight& first = weights.at(0);
  auto alike = [](const Weight& a, const Weight& b) {
    return bool(a) == bool(b) && (!a || (a.dtype() == b.dtype() && a.sizes() == b.sizes()));
  };
  for (const EncodedWeight& each : weights)
    if (each.op != first.op || each.attributes != first.attributes || each.operands.size() != first.operands.size() ||
        !std::equal(each.operands.begin(), each.operands.end(), first.operands.begin(), alike) ||
        bool(each.data) != bool(first.data))
      return std::nullopt;
  EncodedWeight result = first;
  if (first.data) {
    std::vector<EncodedWeight> data;
    for (const EncodedWeight& each : weights) data.push_back(*each.data);
    auto whole = stacked(data);
    if (!whole) return std::nullopt;
    result.data = std::make_shared<EncodedWeight>(*std::move(whole));
  }
  for (std::size_t i = 0; i < first.operands.size(); ++i) {
    if (!first.operands[i]) continue;
    std::vector<Weight> parts;
    for (const EncodedWeight& each : weights) parts.push_back(each.operands[i]);
    result.operands[i] = stacked(parts);
  }
  return result;
}

EncodedWeight plain_weight(Weight weight, std::string scheme) {
  EncodedWeight encoded;
  encoded.operands.push_back(std::move(weight));
  encoded.scheme = std::move(scheme);
  return encoded;
}

Weight reshaped(const Weight& weight, Sizes sizes) {
  return Weight::derived(
      {.what = "reshaped to " + to_string(sizes),
       .dtype = weight.dtype(),
       .sizes = sizes,
       .inputs = {weight},
       .apply = [sizes](std::span<const Tensor> in) -> Result<Tensor> { return in[0].reshaped(sizes); }});
}

Weight transposed(const Weight& matrix) {
  Sizes sizes{matrix.sizes()[1], matrix.sizes()[0]};
  return Weight::derived({.what = "transposed",
                          .dtype = matrix.dtype(),
                          .sizes = sizes,
                          .inputs = {matrix},
                          .apply = [sizes](std::span<const Tensor> in) -> Result<Tensor> {
                            Tensor out(in[0].dtype(), sizes);
                            std::size_t rows = std::size_t(sizes[0]), columns = std::size_t(sizes[1]),
                                        width = element_size_bytes(in[0].dtype());
                            std::uint8_t* to = out.mutable_data();
                            for (std::size_t r = 0; r < rows; ++r)
                              for (std::size_t c = 0; c < columns; ++c, to += width)
                                std::memcpy(to, in[0].data() + (c * rows + r) * width, width);
                            return out;
                          }});
}

}  // namespace pomona::llm
