#include "ops/elementwise_binary.h"

#include <algorithm>

#include "ops/catalogue.h"
#include "ops/elementwise_unary.h"

namespace pomona::mil {
namespace {

using Contents = std::optional<std::vector<Dim>>;

// Element i of a vector or scalar that broadcasts.
Dim element(const std::vector<Dim>& elements, std::size_t i) {
  return elements.size() == 1 ? elements[0] : elements[i];
}

std::optional<std::size_t> broadcast_length(std::initializer_list<std::size_t> lengths) {
  std::size_t length = 1;
  for (std::size_t l : lengths) {
    if (l != 1 && length != 1 && l != length) return {};
    if (l != 1) length = l;
  }
  return length;
}

// The elements of a shape-like result; f gives one, or nothing when it cannot be said.
template <class F>
Contents combine(const InputField& x, const InputField& y, F f) {
  if (x.dtype() != DType::int32) return {};
  Contents a = x.contents(), b = y.contents();
  if (!a || !b) return {};
  auto length = broadcast_length({a->size(), b->size()});
  if (!length) return {};
  std::vector<Dim> result;
  for (std::size_t i = 0; i < *length; ++i) {
    std::optional<Dim> d = f(element(*a, i), element(*b, i));
    if (!d || !fits_int32(*d)) return {};
    result.push_back(*d);
  }
  return result;
}

}  // namespace

std::int64_t mul::f(std::int64_t x, std::int64_t y) { return wrapped_to_int32(std::uint64_t(x) * std::uint64_t(y)); }

std::int64_t floor_div::f(std::int64_t x, std::int64_t y) {
  if (y == 0) return 0;
  return x / y - (x % y != 0 && (x < 0) != (y < 0));
}

double mod::f(double x, double y) {
  double rest = std::fmod(x, y);
  if (rest == 0) return std::copysign(0.0, y);
  return (rest < 0) != (y < 0) ? rest + y : rest;
}
std::int64_t mod::f(std::int64_t x, std::int64_t y) {
  if (y == 0) return 0;
  std::int64_t rest = x % y;
  return rest != 0 && (rest < 0) != (y < 0) ? rest + y : rest;
}

std::int64_t pow::f(std::int64_t x, std::int64_t y) {
  if (y < 0) return x == 1 ? 1 : x == -1 ? (y % 2 == 0 ? 1 : -1) : 0;
  std::uint64_t result = 1, factor = std::uint64_t(x);
  for (; y > 0; y >>= 1) {
    if (y & 1) result *= factor;
    factor *= factor;
  }
  return wrapped_to_int32(result);
}

Contents add::contents(const At&) const {
  return combine(x, y, [](Dim a, Dim b) { return std::optional(a + b); });
}
Contents sub::contents(const At&) const {
  return combine(x, y, [](Dim a, Dim b) { return std::optional(a - b); });
}
Contents mul::contents(const At&) const {
  return combine(x, y, [](Dim a, Dim b) { return std::optional(a * b); });
}
Contents real_div::contents(const At&) const {
  return combine(x, y, [](Dim a, Dim b) -> std::optional<Dim> {
    if (a.known() && b.known()) return Dim(f(a.value(), b.value()));
    return exact_div(a, b);
  });
}
Contents floor_div::contents(const At&) const {
  return combine(x, y, [](Dim a, Dim b) -> std::optional<Dim> {
    if (b == 0) return {};
    return pomona::floor_div(a, b);
  });
}
Contents mod::contents(const At&) const {
  return combine(x, y, [](Dim a, Dim b) -> std::optional<Dim> {
    if (b == 0) return {};
    return a - b * pomona::floor_div(a, b);
  });
}
Contents maximum::contents(const At&) const {
  return combine(x, y, [](Dim a, Dim b) { return std::optional(pomona::maximum(a, b)); });
}
Contents minimum::contents(const At&) const {
  return combine(x, y, [](Dim a, Dim b) { return std::optional(pomona::minimum(a, b)); });
}

Result<Types> select::infer(const At&) const {
  Shape values = POM_TRY(broadcast(a.shape(), b.shape()));
  return Types{tensor_type(a.dtype(), POM_TRY(broadcast(values, cond.shape())))};
}
Contents select::contents(const At&) const {
  Contents conditions = cond.contents(), first = a.contents(), second = b.contents();
  if (!conditions || !first || !second) return {};
  auto length = broadcast_length({conditions->size(), first->size(), second->size()});
  if (!length) return {};
  std::vector<Dim> result;
  for (std::size_t i = 0; i < *length; ++i) {
    Dim condition = element(*conditions, i);
    if (!condition.known()) return {};
    result.push_back(element(condition == 0 ? *second : *first, i));
  }
  return result;
}

std::vector<const OpDef*> elementwise_binary_chapter() {
  return op_list<add, sub, mul, real_div, floor_div, mod, pow, maximum, minimum, equal, not_equal, less, less_equal,
                 greater, greater_equal, logical_and, logical_or, logical_xor, select>();
}

}  // namespace pomona::mil
