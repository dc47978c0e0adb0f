#include "verify/metrics.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace pomona::verify {
namespace {

double argmax_agreement(const Tensor& a, const Tensor& b) {
  std::size_t row = a.rank() ? std::size_t(a.sizes().back()) : 1, rows = row ? a.count() / row : 0, equal = 0;
  auto largest = [row](const Tensor& t, std::size_t first) {
    std::size_t best = first;
    for (std::size_t i = first + 1; i < first + row; ++i)
      if (t.number(i) > t.number(best)) best = i;
    return best;
  };
  for (std::size_t i = 0; i < rows; ++i) equal += largest(a, i * row) == largest(b, i * row);
  return rows ? double(equal) / double(rows) : 1;
}

}  // namespace

Result<Metrics> compare(const Tensor& got, const Tensor& expected) {
  POM_REQUIRE(got.sizes() == expected.sizes(), "the sizes differ: {} and {}", to_string(got.sizes()),
              to_string(expected.sizes()));
  POM_REQUIRE(!got.is_list() && !got.is_dictionary() && got.dtype() != DType::string,
              "only numeric tensors can be compared");
  Metrics m;
  m.count = got.count();
  double dot = 0, norm_got = 0, norm_expected = 0, squared = 0;
  double lowest = std::numeric_limits<double>::infinity(), highest = -lowest;
  for (std::size_t i = 0; i < m.count; ++i) {
    double a = got.number(i), b = expected.number(i);
    m.unequal += !(a == b || (std::isnan(a) && std::isnan(b)));
    if (!std::isfinite(a) || !std::isfinite(b)) {
      m.non_finite += !(a == b || (std::isnan(a) && std::isnan(b)));
      continue;
    }
    double difference = std::fabs(a - b);
    m.max_abs = std::max(m.max_abs, difference);
    if (b != 0) m.max_rel = std::max(m.max_rel, difference / std::fabs(b));
    squared += difference * difference;
    dot += a * b;
    norm_got += a * a;
    norm_expected += b * b;
    lowest = std::min(lowest, b);
    highest = std::max(highest, b);
  }
  if (m.count == 0) return m;
  double mse = squared / double(m.count);
  m.rmse = std::sqrt(mse);
  m.range = highest >= lowest ? highest - lowest : 0;
  m.snr_db = squared == 0 ? std::numeric_limits<double>::infinity() : 10 * std::log10(norm_expected / squared);
  m.psnr_db = squared == 0 ? std::numeric_limits<double>::infinity() : 10 * std::log10(m.range * m.range / mse);
  double norms = std::sqrt(norm_got) * std::sqrt(norm_expected);
  m.cosine = norms > 0 ? dot / norms : norm_got == norm_expected ? 1 : 0;
  m.argmax_agreement = argmax_agreement(got, expected);
  return m;
}

}  // namespace pomona::verify
