#include "ir/dim.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <limits>
#include <mutex>
#include <set>

namespace pomona {
namespace {

using Monomial = std::vector<std::uint32_t>;          // atom numbers, sorted, repeated for powers
using Polynomial = std::map<Monomial, std::int64_t>;  // no zero coefficients

std::int64_t floor_quotient(std::int64_t a, std::int64_t b) {
  if (b == -1) return std::int64_t(0 - std::uint64_t(a));
  std::int64_t q = a / b;
  return q - (a % b != 0 && (a < 0) != (b < 0));
}
// Wrapping arithmetic: sizes from a hostile file must not be undefined behaviour.
std::int64_t add(std::int64_t a, std::int64_t b) { return std::int64_t(std::uint64_t(a) + std::uint64_t(b)); }
std::int64_t multiply(std::int64_t a, std::int64_t b) { return std::int64_t(std::uint64_t(a) * std::uint64_t(b)); }

}  // namespace

struct DimTable {
  enum class Kind { name, floor_div, minimum, maximum };
  struct Atom {
    Kind kind;
    std::string name;
    Dim a, b;
  };
  std::mutex mutex;
  std::deque<Atom> atoms;
  std::map<std::string, std::uint32_t> named;
  std::map<std::tuple<Kind, std::uint64_t, std::uint64_t>, std::uint32_t> applied;
  std::deque<Polynomial> polynomials{1};  // 0 is not used
  std::map<Polynomial, std::uint32_t> interned;
  std::uint64_t next_unknown = 0;

  static DimTable& get() {
    static DimTable& table = *new DimTable;  // never destroyed: Dims may outlive every static
    return table;
  }
  static std::uint64_t key(Dim d) {
    return d.known() ? std::uint64_t(d.value_) << 1 : std::uint64_t(d.expression_) << 1 | 1;
  }

  Polynomial polynomial(Dim d) {
    if (!d.known()) return polynomials[d.expression_];
    if (d.value_ == 0) return {};
    return {{{}, d.value_}};
  }
  Dim intern(Polynomial p) {
    std::erase_if(p, [](auto& term) { return term.second == 0; });
    if (p.empty()) return Dim(0);
    if (p.size() == 1 && p.begin()->first.empty()) return Dim(p.begin()->second);
    auto [at, fresh] = interned.try_emplace(std::move(p), std::uint32_t(polynomials.size()));
    if (fresh) polynomials.push_back(at->first);
    return Dim(at->second, nullptr);
  }
  Dim of_atom(std::uint32_t atom) { return intern({{{atom}, 1}}); }
  Dim name(const std::string& text) {
    auto [at, fresh] = named.try_emplace(text, std::uint32_t(atoms.size()));
    if (fresh) atoms.push_back({Kind::name, text, {}, {}});
    return of_atom(at->second);
  }
  Dim fresh() { return name("?" + std::to_string(next_unknown++)); }
  Dim apply(Kind kind, Dim a, Dim b) {
    auto [at, fresh] = applied.try_emplace({kind, key(a), key(b)}, std::uint32_t(atoms.size()));
    if (fresh) atoms.push_back({kind, {}, a, b});
    return of_atom(at->second);
  }
  static Polynomial sum(Polynomial a, const Polynomial& b, std::int64_t factor) {
    for (auto& [monomial, coefficient] : b) {
      std::int64_t& total = a[monomial];
      total = add(total, multiply(coefficient, factor));
    }
    return a;
  }
  static Polynomial product(const Polynomial& a, const Polynomial& b) {
    Polynomial result;
    for (auto& [ma, ca] : a)
      for (auto& [mb, cb] : b) {
        Monomial m;
        std::merge(ma.begin(), ma.end(), mb.begin(), mb.end(), std::back_inserter(m));
        std::int64_t& total = result[m];
        total = add(total, multiply(ca, cb));
      }
    return result;
  }
  // Squaring again and again, as a hostile file may, doubles a monomial each time; no real size comes near these
  // bounds.
  static bool product_is_small(const Polynomial& a, const Polynomial& b) {
    constexpr std::size_t most_terms = 4096, highest_degree = 64;
    auto degree = [](const Polynomial& p) {
      std::size_t most = 0;
      for (auto& [monomial, coefficient] : p) most = std::max(most, monomial.size());
      return most;
    };
    return a.size() * b.size() <= most_terms && degree(a) + degree(b) <= highest_degree;
  }
  // p / (coefficient * monomial), when every term divides.
  static std::optional<Polynomial> quotient(const Polynomial& p, const Monomial& divisor, std::int64_t coefficient) {
    Polynomial result;
    for (auto& [m, c] : p) {
      // The smallest integer modulo -1 would trap.
      bool divides = coefficient == -1 || c % coefficient == 0;
      if (!divides || !std::includes(m.begin(), m.end(), divisor.begin(), divisor.end())) return {};
      Monomial rest;
      std::set_difference(m.begin(), m.end(), divisor.begin(), divisor.end(), std::back_inserter(rest));
      result[rest] = floor_quotient(c, coefficient);
    }
    return result;
  }
  // Long division by a polynomial of several terms: p == q * divisor, or nothing.
  static std::optional<Polynomial> long_quotient(Polynomial p, const Polynomial& divisor) {
    Polynomial result;
    auto lead = std::prev(divisor.end());
    for (int step = 0; !p.empty(); ++step) {
      auto top = std::prev(p.end());
      auto term = quotient({*top}, lead->first, lead->second);
      if (!term || term->empty() || step > 64) return {};
      result = sum(std::move(result), *term, 1);
      p = sum(std::move(p), product(*term, divisor), -1);
      std::erase_if(p, [](auto& t) { return t.second == 0; });
    }
    return result;
  }

  template <class Leaf>  // Leaf: atom -> Dim for names
  Dim rebuild(Dim d, const Leaf& leaf) {
    if (d.known()) return d;
    Polynomial total;
    for (const auto& [monomial, coefficient] : Polynomial(polynomials[d.expression_])) {
      Polynomial term{{{}, coefficient}};
      for (std::uint32_t number : monomial) {
        Atom atom = atoms[number];
        Dim factor = atom.kind == Kind::name ? leaf(atom.name)
                                             : combine(atom.kind, rebuild(atom.a, leaf), rebuild(atom.b, leaf));
        term = product(term, polynomial(factor));
      }
      total = sum(std::move(total), term, 1);
    }
    return intern(std::move(total));
  }
  Dim combine(Kind kind, Dim a, Dim b) {
    if (kind == Kind::floor_div) return divide(a, b);
    return extreme(kind, a, b);
  }
  Dim divide(Dim a, Dim b) {
    if (b == 1 || a == 0) return a;
    if (a.known() && b.known() && b.value_ != 0) return Dim(floor_quotient(a.value_, b.value_));
    if (a == b) return Dim(1);
    if (auto exact = divide_exactly(a, b)) return *exact;
    if (b.known() && b.value_ > 0) return divide_by_constant(a, b.value_);
    return apply(Kind::floor_div, a, b);
  }
  // floor((k*n + r)/k) = n + floor(r/k), so that the same size written differently gets one form; and
  // floor(floor(p/m)/k) = floor(p/(m*k)).
  Dim divide_by_constant(Dim a, std::int64_t divisor) {
    Polynomial whole, rest;
    for (auto& [m, c] : polynomial(a)) {
      std::int64_t q = floor_quotient(c, divisor);
      std::int64_t left = add(c, multiply(-1, multiply(q, divisor)));
      if (q) whole[m] = q;
      if (left) rest[m] = left;
    }
    Dim remainder = intern(std::move(rest));
    if (remainder.known()) return intern(std::move(whole));
    const Polynomial& p = polynomials[remainder.expression_];
    if (p.size() == 1 && p.begin()->second == 1 && p.begin()->first.size() == 1) {
      const Atom& atom = atoms[p.begin()->first[0]];
      if (atom.kind == Kind::floor_div && atom.b.known() && atom.b.value_ > 0 &&
          divisor <= std::numeric_limits<std::int64_t>::max() / atom.b.value_) {
        Dim nested = divide_by_constant(Dim(atom.a), atom.b.value_ * divisor);
        return intern(sum(std::move(whole), polynomial(nested), 1));
      }
    }
    return intern(sum(std::move(whole), polynomial(apply(Kind::floor_div, remainder, Dim(divisor))), 1));
  }
  std::optional<Dim> divide_exactly(Dim a, Dim b) {
    if (b == 0) return {};
    Polynomial divisor = polynomial(b);
    std::optional<Polynomial> result = divisor.size() == 1
                                           ? quotient(polynomial(a), divisor.begin()->first, divisor.begin()->second)
                                           : long_quotient(polynomial(a), divisor);
    if (!result) return {};
    return intern(*std::move(result));
  }
  Dim extreme(Kind kind, Dim a, Dim b) {
    Dim difference = intern(sum(polynomial(a), polynomial(b), -1));
    if (difference.known()) return (difference.value_ < 0) == (kind == Kind::minimum) ? a : b;
    if (key(b) < key(a)) std::swap(a, b);
    return apply(kind, a, b);
  }
  bool never_negative(Dim d) {
    if (d.known()) return d.value_ >= 0;
    for (const auto& [monomial, coefficient] : Polynomial(polynomials[d.expression_])) {
      if (coefficient < 0) return false;
      for (std::uint32_t number : monomial)
        if (!atom_never_negative(atoms[number])) return false;
    }
    return true;
  }
  bool atom_never_negative(const Atom& atom) {
    if (atom.kind == Kind::name) return !atom.name.starts_with('?');
    if (atom.kind == Kind::maximum) return never_negative(atom.a) || never_negative(atom.b);
    return never_negative(atom.a) && never_negative(atom.b);
  }
  void collect(Dim d, std::set<std::string>& names) {
    if (d.known()) return;
    for (const auto& [monomial, coefficient] : Polynomial(polynomials[d.expression_]))
      for (std::uint32_t number : monomial) {
        Atom atom = atoms[number];
        if (atom.kind == Kind::name) {
          names.insert(atom.name);
        } else {
          collect(atom.a, names);
          collect(atom.b, names);
        }
      }
  }
  std::string atom_text(std::uint32_t number) {
    Atom atom = atoms[number];
    switch (atom.kind) {
      case Kind::name:
        return atom.name;
      case Kind::floor_div:
        return fmt::format("floor(({})/{})", text(atom.a), atom.b.known() ? text(atom.b) : "(" + text(atom.b) + ")");
      case Kind::minimum:
        return fmt::format("min({}, {})", text(atom.a), text(atom.b));
      case Kind::maximum:
        return fmt::format("max({}, {})", text(atom.a), text(atom.b));
    }
    return {};
  }
  std::string text(Dim d) {
    if (d.known()) return std::to_string(d.value_);
    std::string result;
    Polynomial p = polynomials[d.expression_];
    for (auto at = p.rbegin(); at != p.rend(); ++at) {
      auto [monomial, coefficient] = *at;
      std::string term;
      for (std::uint32_t number : monomial) term += (term.empty() ? "" : "*") + atom_text(number);
      std::uint64_t size = coefficient < 0 ? 0 - std::uint64_t(coefficient) : std::uint64_t(coefficient);
      if (term.empty())
        term = std::to_string(size);
      else if (size != 1)
        term = std::to_string(size) + "*" + term;
      if (result.empty())
        result = (coefficient < 0 ? "-" : "") + term;
      else
        result += (coefficient < 0 ? " - " : " + ") + term;
    }
    return result;
  }
};

namespace {
template <class F>
auto locked(F&& f) {
  DimTable& table = DimTable::get();
  std::lock_guard lock(table.mutex);
  return f(table);
}
}  // namespace

Dim Dim::named(const std::string& name) {
  return locked([&](DimTable& t) { return t.name(name); });
}
Dim Dim::unknown() {
  return locked([&](DimTable& t) { return t.fresh(); });
}
Dim operator+(Dim a, Dim b) {
  if (a.known() && b.known()) return Dim(add(a.value_, b.value_));
  return locked([&](DimTable& t) { return t.intern(t.sum(t.polynomial(a), t.polynomial(b), 1)); });
}
Dim operator-(Dim a, Dim b) {
  if (a.known() && b.known()) return Dim(add(a.value_, multiply(b.value_, -1)));
  return locked([&](DimTable& t) { return t.intern(t.sum(t.polynomial(a), t.polynomial(b), -1)); });
}
Dim operator*(Dim a, Dim b) {
  if (a.known() && b.known()) return Dim(multiply(a.value_, b.value_));
  return locked([&](DimTable& t) {
    Polynomial x = t.polynomial(a), y = t.polynomial(b);
    return t.product_is_small(x, y) ? t.intern(t.product(x, y)) : t.fresh();
  });
}
Dim floor_div(Dim a, Dim b) {
  return locked([&](DimTable& t) { return t.divide(a, b); });
}
Dim minimum(Dim a, Dim b) {
  return locked([&](DimTable& t) { return t.extreme(DimTable::Kind::minimum, a, b); });
}
Dim maximum(Dim a, Dim b) {
  return locked([&](DimTable& t) { return t.extreme(DimTable::Kind::maximum, a, b); });
}
std::optional<Dim> exact_div(Dim a, Dim b) {
  if (b == 0) return {};
  return locked([&](DimTable& t) { return t.divide_exactly(a, b); });
}

bool never_negative(Dim d) {
  return locked([&](DimTable& t) { return t.never_negative(d); });
}

std::optional<std::int64_t> Dim::at(const Bindings& bindings) const {
  std::map<std::string, Dim> dims;
  for (auto& [name, value] : bindings) dims.emplace(name, Dim(value));
  Dim result = substitute(dims);
  if (!result.known()) return {};
  return result.value();
}
Dim Dim::substitute(const std::map<std::string, Dim>& bindings) const {
  if (known()) return *this;
  return locked([&](DimTable& t) {
    return t.rebuild(*this, [&](const std::string& name) {
      auto at = bindings.find(name);
      return at == bindings.end() ? t.name(name) : at->second;
    });
  });
}
std::optional<std::string> Dim::symbol() const {
  if (known()) return {};
  return locked([&](DimTable& t) -> std::optional<std::string> {
    const auto& p = t.polynomials[expression_];
    if (p.size() != 1 || p.begin()->second != 1 || p.begin()->first.size() != 1) return {};
    const auto& atom = t.atoms[p.begin()->first[0]];
    if (atom.kind != DimTable::Kind::name) return {};
    return atom.name;
  });
}
std::vector<std::string> Dim::symbols() const {
  std::set<std::string> names;
  if (!known()) locked([&](DimTable& t) { t.collect(*this, names); });
  return {names.begin(), names.end()};
}
std::string Dim::text() const {
  if (known()) return std::to_string(value_);
  return locked([&](DimTable& t) { return t.text(*this); });
}

std::string to_string(const Shape& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + shape[i].text();
  return text + "]";
}
Dim element_count(const Shape& shape) {
  Dim count = 1;
  for (Dim d : shape) count = count * d;
  return count;
}
bool all_known(const Shape& shape) {
  return std::all_of(shape.begin(), shape.end(), [](Dim d) { return d.known(); });
}
std::vector<std::int64_t> known_sizes(const Shape& shape) {
  std::vector<std::int64_t> sizes;
  for (Dim d : shape) sizes.push_back(d.value());
  return sizes;
}
Shape to_shape(const std::vector<std::int64_t>& sizes) { return {sizes.begin(), sizes.end()}; }
std::optional<std::size_t> normal_axis(std::int64_t axis, std::size_t rank) {
  auto r = std::int64_t(rank);
  if (axis < -r || axis >= r) return {};
  return std::size_t(axis < 0 ? axis + r : axis);
}

}  // namespace pomona
