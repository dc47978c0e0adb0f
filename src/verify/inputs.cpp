#include "verify/inputs.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "ir/op.h"

namespace pomona::verify {
namespace {

class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {
    std::uint64_t z = state_ += 0x9E3779B97F4A7C15;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
    z = (z ^ z >> 27) * 0x94D049BB133111EB;
    return z ^ z >> 31;
  }
  double uniform() { return (double(next() >> 11) + 0.5) * 0x1p-53; }
  double normal() { return std::sqrt(-2 * std::log(uniform())) * std::cos(2 * std::numbers::pi * uniform()); }

 private:
  std::uint64_t state_;
};

// Ops through which an index keeps being that index.
bool passes_indices(std::string_view op) {
  static constexpr std::string_view names[] = {"cast",      "reshape", "expand_dims", "squeeze", "identity",
                                               "transpose", "add",     "select",      "maximum", "minimum"};
  for (std::string_view name : names)
    if (op == name) return true;
  return false;
}

// Where a vector that the value is a part of, from element `offset` on, says where rows are written: the number of
// places at which they fit. 0 when it does not say that.
std::int64_t places_written_at(const Node& concat, Value value) {
  std::int64_t offset = 0, places = 0;
  for (Value part : concat.inputs()) {
    if (part == value) break;
    if (part.rank() != 1 || !part.shape()[0].known()) return 0;
    offset += part.shape()[0].value();
  }
  for (const Node* user : concat.output().users()) {
    if (!user->op || user->op->name != "slice_update" || user->input("begin") != concat.output()) continue;
    Value whole = user->input("x"), rows = user->input("update");
    if (offset >= std::int64_t(whole.rank()) || rows.rank() != whole.rank()) continue;
    const Dim &size = whole.shape()[std::size_t(offset)], &count = rows.shape()[std::size_t(offset)];
    if (!size.known() || !count.known() || count.value() > size.value()) continue;
    std::int64_t fit = size.value() - count.value() + 1;
    places = places ? std::min(places, fit) : fit;
  }
  return places;
}

// The number of rows of the smallest constant table that the value indexes, or of places that it says rows are to be
// written at; 0 when it does neither.
std::int64_t table_rows(Value value, int depth = 0) {
  std::int64_t rows = 0;
  auto narrow = [&](std::int64_t found) {
    if (found > 0 && (rows == 0 || found < rows)) rows = found;
  };
  for (const Node* user : value.users()) {
    if (!user->op) continue;
    if (user->op->name == "concat" && value.rank() == 1) narrow(places_written_at(*user, value));
    if (user->op->name == "gather" && user->input("indices") == value && user->input("x").is_weight()) {
      auto axis = std::get_if<std::int64_t>(&user->attribute("axis"));
      auto at = normal_axis(axis ? *axis : 0, user->input("x").rank());
      if (at && user->input("x").shape()[*at].known()) narrow(user->input("x").shape()[*at].value());
    } else if (passes_indices(user->op->name) && depth < 8) {
      narrow(table_rows(user->output(), depth + 1));
    }
  }
  return rows;
}

Result<Sizes> sizes_of(Value input, const Function& function, const InputChoice& choice) {
  const Feature* feature = nullptr;
  for (const Feature& f : function.inputs)
    if (f.name == input.name()) feature = &f;
  Sizes sizes;
  for (std::size_t d = 0; d < input.rank(); ++d) {
    Dim dim = input.shape()[d];
    if (dim.known()) {
      sizes.push_back(dim.value());
      continue;
    }
    std::int64_t fallback = choice.default_size;
    if (fallback == 0)
      fallback = feature && feature->kind == Feature::Kind::array && d < feature->shape.size() ? feature->shape[d] : 8;
    Dim::Bindings sizes_by_name = choice.sizes;
    for (const std::string& symbol : dim.symbols()) {
      auto limit = choice.limits.find(symbol);
      bool free = limit == choice.limits.end();
      sizes_by_name.try_emplace(symbol,
                                free ? fallback : std::clamp(fallback, limit->second.first, limit->second.second));
    }
    auto size = dim.at(sizes_by_name);
    POM_REQUIRE(size && *size >= 0 && *size < (1 << 30), "input '{}': no size follows for axis {} ({})", input.name(),
                d, dim.text());
    sizes.push_back(*size);
  }
  return sizes;
}

}  // namespace

Result<NamedTensors> random_inputs(const Function& function, const InputChoice& choice) {
  NamedTensors inputs;
  Random random(choice.seed);
  for (std::size_t i = 0; i < function.body.input_count(); ++i) {
    Value input = function.body.input(i);
    if (input.type().kind == Type::Kind::state) continue;
    Tensor tensor(input.dtype(), POM_TRY(sizes_of(input, function, choice)));
    tensor.mutable_data();
    std::int64_t rows = is_integer(input.dtype()) ? table_rows(input) : 0;
    for (std::size_t k = 0; k < tensor.count(); ++k) {
      double value = is_float(input.dtype()) ? random.normal() : double(random.next() % std::uint64_t(rows ? rows : 2));
      tensor.set_number(k, value);
    }
    inputs[input.name()] = std::move(tensor);
  }
  return inputs;
}

std::optional<NamedTensors> disturbed(const NamedTensors& inputs, double noise) {
  NamedTensors result = inputs;
  Random random(1);
  bool any = false;
  for (auto& [name, tensor] : result) {
    if (!is_float(tensor.dtype()) || tensor.is_list() || tensor.is_dictionary()) continue;
    Tensor copy(tensor.dtype(), tensor.sizes());
    copy.mutable_data();
    for (std::size_t i = 0; i < tensor.count(); ++i)
      copy.set_number(i, tensor.number(i) * (1 + noise * random.normal()));
    tensor = std::move(copy);
    any = true;
  }
  return any ? std::optional(std::move(result)) : std::nullopt;
}

}  // namespace pomona::verify
