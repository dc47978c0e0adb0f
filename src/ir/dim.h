// A dimension: a known integer, or an expression over symbols that stand for sizes known only when a model runs.
//
//   Dim height = Dim::named("height");
//   Dim out = floor_div(height + 2 - 3, 2) + 1;      // "floor((height - 1)/2) + 1"
//   out == floor_div(height - 1, 2) + 1              // true: expressions are kept in a normal form
//   out.at({{"height", 224}})                        // 112
//
// The normal form is a polynomial with integer coefficients whose unknowns are names and applications of floor_div,
// min and max. Expressions are interned, so comparing two Dims is comparing two integers. Values may be negative: the
// elements of shape-like tensors are Dims as well. Equal Dims are equal; unequal ones may or may not be.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace pomona {

class Dim {
 public:
  constexpr Dim(std::int64_t value = 0) : value_(value) {}
  static Dim named(const std::string& name);
  // A size nothing is known of; each call gives another one.
  static Dim unknown();

  constexpr bool known() const { return expression_ == 0; }
  // The integer of a known dimension.
  constexpr std::int64_t value() const { return value_; }
  friend constexpr bool operator==(const Dim&, const Dim&) = default;
  friend bool operator==(const Dim& a, std::int64_t b) { return a.known() && a.value_ == b; }
  friend bool operator==(const Dim& a, int b) { return a.known() && a.value_ == b; }

  friend Dim operator+(Dim a, Dim b);
  friend Dim operator-(Dim a, Dim b);
  friend Dim operator*(Dim a, Dim b);
  friend Dim floor_div(Dim a, Dim b);  // b != 0
  friend Dim minimum(Dim a, Dim b);
  friend Dim maximum(Dim a, Dim b);
  // a / b when b divides a as polynomials, e.g. (6*h*w) / (2*w); empty when that cannot be shown.
  friend std::optional<Dim> exact_div(Dim a, Dim b);
  // Whether the value is certainly 0 or more. Names stand for sizes; of what unknown() made nothing is certain.
  friend bool never_negative(Dim d);

  // The value when every name has the given one; empty when a name is missing or a division by zero comes up.
  using Bindings = std::map<std::string, std::int64_t>;
  std::optional<std::int64_t> at(const Bindings& bindings) const;
  // The same with Dims for names; names without a binding stay.
  Dim substitute(const std::map<std::string, Dim>& bindings) const;
  // The name of a dimension that is a single symbol; empty otherwise.
  std::optional<std::string> symbol() const;
  // Names in this expression, in alphabetical order.
  std::vector<std::string> symbols() const;
  std::string text() const;

 private:
  friend struct DimTable;
  Dim(std::uint32_t expression, std::nullptr_t) : expression_(expression) {}
  std::int64_t value_ = 0;
  std::uint32_t expression_ = 0;  // 0: the integer value_; else an index into the table of expressions
};

// Visible by qualified name, too: ops called `floor_div` and `minimum` hide them in pomona::mil.
Dim floor_div(Dim a, Dim b);
Dim minimum(Dim a, Dim b);
Dim maximum(Dim a, Dim b);

using Shape = std::vector<Dim>;
std::string to_string(const Shape& shape);
// The product of all dimensions.
Dim element_count(const Shape& shape);
bool all_known(const Shape& shape);
// A known shape's integers; unknown dims must not occur.
std::vector<std::int64_t> known_sizes(const Shape& shape);
Shape to_shape(const std::vector<std::int64_t>& sizes);
// The axis counted from the front; empty when it is outside [-rank, rank).
std::optional<std::size_t> normal_axis(std::int64_t axis, std::size_t rank);

}  // namespace pomona
