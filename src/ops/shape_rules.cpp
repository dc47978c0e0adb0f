#include "ops/shape_rules.h"

#include <fmt/format.h>

#include <algorithm>

namespace pomona::mil {
namespace {

constexpr std::int64_t most_elements = std::int64_t(1) << 40, most_bytes = std::int64_t(1) << 32;

}  // namespace

Result<std::size_t> checked_axis(std::int64_t axis, std::size_t rank) {
  auto normal = normal_axis(axis, rank);
  POM_REQUIRE(normal, "axis {} is outside a tensor of rank {}", axis, rank);
  return *normal;
}

Result<std::vector<std::size_t>> checked_axes(const Ints& axes, std::size_t rank) {
  std::vector<std::size_t> result;
  std::vector<bool> seen(rank);
  for (std::int64_t axis : axes) {
    std::size_t normal = POM_TRY(checked_axis(axis, rank));
    POM_REQUIRE(!seen[normal], "axis {} is given twice", axis);
    seen[normal] = true;
    result.push_back(normal);
  }
  return result;
}

std::optional<Dim> merged_size(Dim a, Dim b) {
  if (a == b) return a;
  if ((a - b).known()) return {};
  return a.known() ? a : b;
}

Result<Dim> same_size(Dim a, Dim b, std::string_view what, std::string_view other) {
  std::optional<Dim> both = merged_size(a, b);
  POM_REQUIRE(both, "{} is {}, but {} is {}; they must be equal", what, a.text(), other, b.text());
  return *both;
}

Result<Shape> same_shape(const Shape& a, const Shape& b, std::string_view what, std::string_view other) {
  bool equal = a.size() == b.size();
  Shape result;
  for (std::size_t d = 0; equal && d < a.size(); ++d) {
    std::optional<Dim> both = merged_size(a[d], b[d]);
    equal = both.has_value();
    if (both) result.push_back(*both);
  }
  POM_REQUIRE(equal, "{} has shape {}, but {} has {}; they must be equal", what, to_string(a), other, to_string(b));
  return result;
}

Result<Dim> divided_size(Dim size, std::int64_t divisor, std::string_view what) {
  if (auto exact = exact_div(size, divisor)) return *exact;
  POM_REQUIRE(!size.known(), "{} is {}, which {} does not divide", what, size.text(), divisor);
  return floor_div(size, divisor);
}

Status check_sizes(const Shape& shape) {
  std::int64_t count = 1;
  for (Dim d : shape) {
    if (!d.known()) continue;
    POM_REQUIRE(d.value() >= 0, "the result would have the negative size {}", d.value());
    // Zeros count as ones: strides are products of the other sizes.
    POM_REQUIRE(d.value() <= most_elements / count, "the result's shape {} is too large", to_string(shape));
    count *= std::max<std::int64_t>(d.value(), 1);
  }
  return {};
}

Status check_vector(const InputField& input, std::size_t count) {
  POM_REQUIRE(input.rank() == 1, "'{}' has rank {}, not 1", input.info().name, input.rank());
  Dim length = input.shape()[0];
  POM_REQUIRE(!length.known() || length == std::int64_t(count), "'{}' has {} entries, but {} are needed",
              input.info().name, length.text(), count);
  return {};
}

Result<std::vector<Dim>> vector_contents(const InputField& input, std::size_t count) {
  POM_TRY(check_vector(input, count));
  auto contents = input.contents();
  if (contents && contents->size() == count) return *std::move(contents);
  std::vector<Dim> dims;
  for (std::size_t i = 0; i < count; ++i) dims.push_back(Dim::unknown());
  return dims;
}

Result<std::size_t> vector_length(const InputField& input) {
  // Longer than any rank: a file asking for more is broken, and each entry becomes a dim.
  constexpr std::int64_t most = 1024;
  POM_REQUIRE(input.rank() == 1, "'{}' has rank {}, not 1", input.info().name, input.rank());
  Dim length = input.shape()[0];
  POM_REQUIRE(length.known(), "the length of '{}' is not known, so the rank of the result is not either",
              input.info().name);
  POM_REQUIRE(length.value() >= 0 && length.value() <= most, "'{}' has {} entries, but at most {} are allowed",
              input.info().name, length.value(), most);
  return std::size_t(length.value());
}

std::optional<double> known_number(const InputField& input) {
  if (const Tensor* tensor = input.known())
    return tensor->count() == 1 ? std::optional(tensor->number(0)) : std::nullopt;
  Value value = input;
  return value ? value.number() : std::nullopt;
}

Status check_memory(DType dtype, const Shape& shape) {
  POM_REQUIRE(all_known(shape), "the shape {} is not known", to_string(shape));
  POM_TRY(check_sizes(shape));
  std::int64_t bytes = element_count(shape).value() * std::int64_t(element_size_bytes(dtype));
  POM_REQUIRE(bytes <= most_bytes, "a tensor of shape {} needs {} bytes", to_string(shape), bytes);
  return {};
}

Result<Tensor> make_tensor(DType dtype, const Shape& shape) {
  POM_TRY(check_memory(dtype, shape));
  return Tensor(dtype, known_sizes(shape));
}

}  // namespace pomona::mil
