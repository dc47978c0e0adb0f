#include <algorithm>
#include <map>
#include <set>

#include "formats/onnx/lowering.h"
#include "ops/elementwise_binary.h"
#include "ops/elementwise_unary.h"
#include "ops/linear.h"
#include "ops/reduction.h"
#include "ops/shape.h"

// Matrix products.
namespace pomona::onnx {
namespace {

struct MatMul {
  ONNX_IN(A);
  ONNX_IN(B);
  Status lower(Lowering& g) const {
    POM_REQUIRE(A.rank() > 0 && B.rank() > 0, "an operand is a scalar");
    return g.result(g.wrap(g.add(mil::matmul{.x = A, .y = B}), A.elem()), A.elem());
  }
};

// alpha * A B + beta * C
struct Gemm {
  ONNX_IN(A);
  ONNX_IN(B);
  ONNX_OPTIONAL(C);
  ONNX_ATTR(alpha, float) = 1.0f;
  ONNX_ATTR(beta, float) = 1.0f;
  ONNX_ATTR(broadcast, bool, .until = 7) = false;
  ONNX_ATTR(transA, bool) = false;
  ONNX_ATTR(transB, bool) = false;
  Status lower(Lowering& g) const {
    POM_REQUIRE(A.rank() == 2 && B.rank() == 2, "A and B have the ranks {} and {}, not 2", A.rank(), B.rank());
    bool integers = !is_float(A.dtype());
    POM_REQUIRE(!integers || (*alpha == 1 && *beta == 1), "integers are not scaled");
    Value weight = g.as_constant(B), bias = C ? g.as_constant(C) : Value();
    // A vector added to the product of a constant matrix is what `linear` does.
    Dim width = B.shape()[transB ? 0 : 1];
    bool linear = weight.literal() && bias && bias.literal() && !*transA && *alpha == 1 && *beta == 1 &&
                  width.known() && !integers && (bias.shape() == Shape{width} || bias.shape() == Shape{1, width});
    if (linear) {
      Value rows = transB ? weight : g.transpose(weight, {1, 0});
      return g.result(g.add(mil::linear{.x = A, .weight = rows, .bias = g.reshape(bias, Shape{width})}));
    }
    Value y = g.add(mil::matmul{.x = A, .y = B, .transpose_x = *transA, .transpose_y = *transB});
    if (*alpha != 1) y = g.times(y, double(*alpha));
    if (C && *beta != 0) y = g.plus(y, *beta == 1 ? *C : g.times(C, double(*beta)));
    return g.result(y);
  }
};

// One operand of an einsum: its value and the letter of each dim. Dims under an ellipsis are digits, counted from the
// right.
struct Term {
  Value value;
  std::string letters;
};

Value permuted(Lowering& g, const Term& term, const std::string& order) {
  Ints perm;
  for (char c : order) perm.push_back(std::int64_t(term.letters.find(c)));
  return g.transpose(term.value, perm);
}

// A letter that stands twice takes the diagonal.
Status take_diagonals(Lowering& g, Term& term) {
  for (std::size_t i = 0; i < term.letters.size(); ++i) {
    std::size_t j = term.letters.find(term.letters[i], i + 1);
    if (j == std::string::npos) continue;
    Dim size = term.value.shape()[i];
    POM_REQUIRE(size.known() && size == term.value.shape()[j], "the diagonal of a {} x {} matrix is asked for",
                size.text(), term.value.shape()[j].text());
    Ints perm;
    std::string order;
    for (std::size_t k = 0; k < term.letters.size(); ++k)
      if (k != i && k != j) {
        perm.push_back(std::int64_t(k));
        order += term.letters[k];
      }
    perm.push_back(std::int64_t(i));
    perm.push_back(std::int64_t(j));
    Value x = g.transpose(term.value, perm);
    if (!x) return g.status();
    Shape flat(x.shape().begin(), x.shape().end() - 2);
    flat.push_back(size.value() * size.value());
    term.value = g.slice(g.reshape(x, flat), order.size(), 0, size.value() * size.value(), size.value() + 1);
    term.letters = order + term.letters[i];
    return take_diagonals(g, term);
  }
  return {};
}

// Sums over letters that nobody needs any more.
void sum_out(Lowering& g, Term& term, const std::set<char>& needed) {
  Ints axes;
  std::string left;
  for (std::size_t i = 0; i < term.letters.size(); ++i) {
    if (needed.count(term.letters[i]))
      left += term.letters[i];
    else
      axes.push_back(std::int64_t(i));
  }
  if (axes.empty()) return;
  term.value = g.add(mil::reduce_sum{.x = term.value, .axes = axes, .keep_dims = false});
  term.letters = left;
}

// The dims of one letter in two operands; an ellipsis may broadcast.
Result<Dim> joined(Dim a, Dim b) {
  if (a == b || b == 1) return a;
  if (a == 1) return b;
  POM_REQUIRE(!a.known() || !b.known(), "a letter stands for both {} and {}", a.text(), b.text());
  return a.known() ? a : b;
}

Dim size_of(const Term& term, char letter) { return term.value.shape()[term.letters.find(letter)]; }

// The dims of `letters` as one dim.
Dim product(const Term& term, const std::string& letters) {
  Dim all = 1;
  for (char c : letters) all = all * size_of(term, c);
  return all;
}

// x with the groups of dims after the first `lead` made one each.
Value grouped(Lowering& g, const Term& term, const std::string& batch, const std::string& a, const std::string& b) {
  Value x = permuted(g, term, batch + a + b);
  if (!x || (a.size() == 1 && b.size() == 1)) return x;
  Shape shape(x.shape().begin(), x.shape().begin() + std::ptrdiff_t(batch.size()));
  shape.push_back(product(term, a));
  shape.push_back(product(term, b));
  return g.reshape(x, shape);
}

Result<Term> contract(Lowering& g, Term a, Term b, const std::set<char>& needed) {
  std::set<char> in_a(a.letters.begin(), a.letters.end()), in_b(b.letters.begin(), b.letters.end());
  auto with = [](std::set<char> s, const std::set<char>& more) {
    s.insert(more.begin(), more.end());
    return s;
  };
  // A summed letter that stands for 1 on one side is summed on the other before they meet.
  for (char c : in_a)
    if (in_b.count(c) && !needed.count(c) && (size_of(a, c) == 1) != (size_of(b, c) == 1)) {
      std::set<char> rest_a = in_a, rest_b = in_b;
      rest_a.erase(c);
      rest_b.erase(c);
      sum_out(g, a, rest_a);
      sum_out(g, b, rest_b);
      return contract(g, a, b, needed);
    }
  sum_out(g, a, with(needed, in_b));
  sum_out(g, b, with(needed, in_a));
  if (!g.status()) return g.status().error();
  std::string batch, shared, left, right;
  for (char c : a.letters) {
    if (b.letters.find(c) == std::string::npos) {
      left += c;
      continue;
    }
    POM_TRY(joined(size_of(a, c), size_of(b, c)));
    (needed.count(c) ? batch : shared) += c;
  }
  for (char c : b.letters)
    if (a.letters.find(c) == std::string::npos) right += c;
  Shape result;
  for (char c : batch) result.push_back(POM_TRY(joined(size_of(a, c), size_of(b, c))));
  for (char c : left) result.push_back(size_of(a, c));
  for (char c : right) result.push_back(size_of(b, c));
  Value x = grouped(g, a, batch, left, shared), y = grouped(g, b, batch, shared, right);
  Value product = g.add(mil::matmul{.x = x, .y = y});
  if (!product) return g.status().error();
  if (left.size() != 1 || right.size() != 1)
    product = g.add(mil::reshape{.x = product, .shape = g.shape_value(result, {a.value, b.value}, true)});
  return Term{product, batch + left + right};
}

struct Einsum {
  ONNX_VARIADIC(Inputs);
  ONNX_ATTR(equation, std::string, .required = true);
  Status lower(Lowering& g) const {
    std::string text;
    for (char c : *equation)
      if (c != ' ') text += c;
    std::size_t arrow = text.find("->");
    std::string left = text.substr(0, arrow);
    std::vector<Term> terms;
    std::size_t ellipsis = 0;
    POM_REQUIRE(Inputs.size() > 0, "there is no input");
    for (std::size_t i = 0, begin = 0; i < Inputs.size(); ++i) {
      POM_REQUIRE(begin <= left.size(), "the equation '{}' has too few operands", *equation);
      std::size_t end = std::min(left.find(',', begin), left.size());
      Term term{Inputs[i], POM_TRY(letters_of(left.substr(begin, end - begin), Inputs[i].rank(), ellipsis))};
      begin = end + 1;
      POM_TRY(take_diagonals(g, term));
      terms.push_back(std::move(term));
      POM_REQUIRE(i + 1 < Inputs.size() || end == left.size(), "the equation '{}' has too many operands", *equation);
    }
    std::string output;
    if (arrow == std::string::npos) {
      for (std::size_t i = ellipsis; i-- > 0;) output += char('0' + i);
      std::map<char, int> counts;
      for (char c : left)
        if (std::isalpha(static_cast<unsigned char>(c))) ++counts[c];
      for (auto [c, n] : counts)
        if (n == 1) output += c;
    } else {
      std::size_t dots = ellipsis;
      output = POM_TRY(letters_of(text.substr(arrow + 2), SIZE_MAX, dots));
    }
    return contract_all(g, terms, output);
  }
  static Result<std::string> letters_of(const std::string& text, std::size_t rank, std::size_t& ellipsis) {
    std::string letters;
    std::size_t dots = text.find("..."), plain = text.size() - (dots == std::string::npos ? 0 : 3);
    if (rank != SIZE_MAX) {
      POM_REQUIRE(dots == std::string::npos ? plain == rank : plain <= rank,
                  "'{}' of the equation does not fit an operand of rank {}", text, rank);
      if (dots != std::string::npos) ellipsis = std::max(ellipsis, rank - plain);
    }
    std::size_t under = rank == SIZE_MAX ? ellipsis : rank - plain;
    POM_REQUIRE(under < 10, "the ellipsis stands for too many dims");
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (i == dots) {
        for (std::size_t k = under; k-- > 0;) letters += char('0' + k);
        i += 2;
        continue;
      }
      POM_REQUIRE(std::isalpha(static_cast<unsigned char>(text[i])), "the equation holds '{}'", text[i]);
      letters += text[i];
    }
    return letters;
  }
  Status contract_all(Lowering& g, std::vector<Term> terms, const std::string& output) const {
    Term sum = terms[0];
    for (std::size_t i = 1; i < terms.size(); ++i) {
      std::set<char> needed(output.begin(), output.end());
      for (std::size_t k = i + 1; k < terms.size(); ++k)
        needed.insert(terms[k].letters.begin(), terms[k].letters.end());
      sum = POM_TRY(contract(g, sum, terms[i], needed));
    }
    sum_out(g, sum, {output.begin(), output.end()});
    POM_REQUIRE(sum.letters.size() == output.size(), "the result names a letter that no operand has, or one twice");
    for (char c : output)
      POM_REQUIRE(sum.letters.find(c) != std::string::npos, "the result names the letter {}, which no operand has", c);
    return g.result(permuted(g, sum, output), Inputs.entries[0].elem);
  }
};

}  // namespace

Rules matrix_chapter() {
  return {
      rule<Einsum>("Einsum"),
      rule<Gemm>("Gemm", 6),
      rule<MatMul>("MatMul"),
  };
}

}  // namespace pomona::onnx
