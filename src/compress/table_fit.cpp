#include "compress/table_fit.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>

#include "base/bits.h"
#include "base/half.h"
#include "base/threads.h"
#include "compress/distinct_values.h"
#include "compress/exact_kmeans.h"
#include "compress/vector_kmeans.h"

namespace pomona::compress {
namespace {

// What a group's fitting needs, kept from one group to the next.
struct Workspace {
  HalfBins bins;
  std::vector<std::uint8_t> gathered, codes;
  std::vector<float> importance;
};

template <class Element>
std::span<const Element> gather(std::span<const Element> weights, const Groups& cut, std::size_t group,
                                std::vector<std::uint8_t>& space) {
  if (cut.outer == 1) return weights.subspan(cut.position(group, 0), cut.run());
  space.resize(cut.elements() * sizeof(Element));
  auto* out = reinterpret_cast<Element*>(space.data());
  for (std::size_t r = 0; r < cut.outer; ++r)
    std::copy_n(weights.data() + cut.position(group, r), cut.run(), out + r * cut.run());
  return {out, cut.elements()};
}

std::span<const float> gather_factors(std::span<const float> factors, const Groups& cut, std::size_t group,
                                      std::vector<float>& out) {
  if (factors.empty()) return {};
  out.clear();
  for (std::size_t r = 0; r < cut.outer; ++r) {
    const float* from = factors.data() + cut.position(group, r);
    out.insert(out.end(), from, from + cut.run());
  }
  return out;
}

Result<DistinctValues> distinct_values(std::span<const std::uint16_t> weights, std::span<const float> importance,
                                       Workspace& space) {
  return distinct_halves(weights, importance, space.bins);
}
Result<DistinctValues> distinct_values(std::span<const float> weights, std::span<const float> importance, Workspace&) {
  return distinct_floats(weights, importance);
}

float number_of(std::uint16_t half) { return half_to_float(half); }
float number_of(float value) { return value; }

float stored(DType dtype, double value) {
  return dtype == DType::fp16 ? half_to_float(double_to_half(value)) : float(value);
}

// coremltools' evenly spaced table, with its roundings.
std::vector<float> uniform_table(const DistinctValues& distinct, std::size_t entries, DType dtype) {
  double least = distinct.values.front(), span = stored(dtype, double(distinct.values.back()) - least);
  double step = stored(dtype, span / double(entries - 1));
  std::vector<float> table(entries);
  for (std::size_t k = 0; k < entries; ++k) table[k] = stored(dtype, double(k) * step + least);
  return table;
}

Result<std::vector<float>> kmeans_table(const DistinctValues& distinct, const TableCoding& coding, DType dtype) {
  std::vector<double> weights = distinct.weights;
  if (coding.skip_zeros)
    for (std::size_t i = 0; i < weights.size(); ++i)
      if (distinct.values[i] == 0) weights[i] = 0;
  if (std::ranges::all_of(weights, [](double w) { return w == 0; })) weights.assign(weights.size(), 1);
  KmeansTable fitted = POM_TRY(exact_kmeans(distinct.values, weights, {.clusters = std::size_t(1) << coding.bits}));
  std::vector<float> table;
  for (double centroid : fitted.centroids) table.push_back(stored(dtype, centroid));
  return table;
}

Result<std::vector<float>> fitted_table(const DistinctValues& distinct, const TableCoding& coding, DType dtype) {
  std::size_t entries = std::size_t(1) << coding.bits;
  std::vector<float> table;
  switch (coding.mode) {
    case TableMode::uniform:
      return uniform_table(distinct, entries, dtype);
    case TableMode::unique:
      table = distinct.values;
      POM_REQUIRE(table.size() <= entries, "{} values do not fit a table of {}", table.size(), entries);
      break;
    case TableMode::custom:
      for (float entry : coding.entries) table.push_back(stored(dtype, entry));
      std::ranges::sort(table);
      break;
    case TableMode::kmeans:
      table = POM_TRY(kmeans_table(distinct, coding, dtype));
      break;
  }
  table.resize(entries, table.back());
  return table;
}

double squared_error(const DistinctValues& distinct, std::span<const std::uint8_t> nearest,
                     std::span<const float> table, bool skip_zeros) {
  double error = 0;
  for (std::size_t i = 0; i < distinct.values.size(); ++i) {
    if (skip_zeros && distinct.values[i] == 0) continue;
    double off = double(distinct.values[i]) - double(table[nearest[i]]);
    error += distinct.weights[i] * off * off;
  }
  return error;
}

void encode_group(std::span<const std::uint16_t> weights, const DistinctValues& distinct,
                  std::span<const std::uint8_t> nearest, std::span<const float>, Workspace& space,
                  std::uint8_t* codes) {
  encode_halves(weights, distinct, nearest, space.bins, codes);
}
void encode_group(std::span<const float> weights, const DistinctValues&, std::span<const std::uint8_t>,
                  std::span<const float> table, Workspace&, std::uint8_t* codes) {
  encode_floats(weights, table, codes);
}

template <class Element>
class Fit {
 public:
  Fit(const Tensor& tensor, const TableCoding& coding)
      : weights_(tensor.view<Element>()), coding_(coding), cut_(coding.cut), entries_(std::size_t(1) << coding.bits) {
    result_.codes.resize(coding.packed ? packed_size_bytes(weights_.size(), coding.bits)
                                       : weights_.size() / coding.vector);
    result_.tables.resize(cut_.groups * entries_ * coding.vector);
    errors_.resize(cut_.groups);
  }

  Result<TableCodes> run() {
    bool vectors = coding_.vector > 1;
    if (!coding_.int8_tables) {
      POM_TRY(each_group([&](std::size_t g, Workspace& space) {
        return vectors ? vector_group(g, space, true, true) : group(g, space, true, true);
      }));
    } else {
      POM_TRY(each_group([&](std::size_t g, Workspace& space) {
        return vectors ? vector_group(g, space, true, false) : group(g, space, true, false);
      }));
      quantise_tables();
      POM_TRY(each_group([&](std::size_t g, Workspace& space) {
        return vectors ? vector_group(g, space, false, true) : group(g, space, false, true);
      }));
    }
    for (double error : errors_) result_.squared_error += error;
    return std::move(result_);
  }

 private:
  static constexpr DType dtype = sizeof(Element) == 2 ? DType::fp16 : DType::fp32;

  template <class F>
  Status each_group(F f) {
    std::vector<Status> statuses(cut_.groups);
    // Few chunks, as each sets up a workspace.
    std::size_t grain = (cut_.groups + 4 * thread_count() - 1) / (4 * thread_count());
    parallel_for(cut_.groups, grain, [&](std::size_t begin, std::size_t end) {
      Workspace space;
      for (std::size_t g = begin; g < end; ++g) statuses[g] = f(g, space);
    });
    for (Status& status : statuses) POM_TRY(std::move(status));
    return {};
  }

  std::span<float> table_of(std::size_t group) {
    std::size_t size = entries_ * coding_.vector;
    return std::span(result_.tables).subspan(group * size, size);
  }

  Status group(std::size_t g, Workspace& space, bool fit, bool encode) {
    auto values = gather(weights_, cut_, g, space.gathered);
    auto importance = gather_factors(coding_.importance, cut_, g, space.importance);
    DistinctValues distinct = POM_TRY(distinct_values(values, importance, space));
    std::span<float> table = table_of(g);
    if (fit) std::ranges::copy(POM_TRY(fitted_table(distinct, coding_, dtype)), table.begin());
    if (!encode) return {};
    std::vector<std::uint8_t> nearest = nearest_of(distinct, table);
    if (coding_.packed)
      pack(values, distinct, nearest, table, space);
    else
      put(g, values, distinct, nearest, table, space);
    bool weighted = !coding_.importance.empty() || !coding_.error_factor.empty();
    errors_[g] = weighted ? direct_error(g, table) : squared_error(distinct, nearest, table, coding_.skip_zeros);
    return {};
  }

  // int8 tables may be out of order where two entries became one.
  static std::vector<std::uint8_t> nearest_of(const DistinctValues& distinct, std::span<const float> table) {
    return nearest_entries(distinct.values, table);
  }

  void pack(std::span<const Element> values, const DistinctValues& distinct, std::span<const std::uint8_t> nearest,
            std::span<const float> table, Workspace& space) {
    if constexpr (sizeof(Element) == 2) {
      encode_halves_packed(values, distinct, nearest, coding_.bits, space.bins, result_.codes.data());
    } else {
      std::vector<std::uint8_t> codes(values.size());
      encode_floats(values, table, codes.data());
      result_.codes = pack_bits(codes, coding_.bits);
    }
  }

  void put(std::size_t g, std::span<const Element> values, const DistinctValues& distinct,
           std::span<const std::uint8_t> nearest, std::span<const float> table, Workspace& space) {
    if (cut_.outer == 1) {
      encode_group(values, distinct, nearest, table, space, result_.codes.data() + cut_.position(g, 0));
      return;
    }
    space.codes.resize(values.size());
    encode_group(values, distinct, nearest, table, space, space.codes.data());
    for (std::size_t r = 0; r < cut_.outer; ++r)
      std::copy_n(space.codes.data() + r * cut_.run(), cut_.run(), result_.codes.data() + cut_.position(g, r));
  }

  double direct_error(std::size_t g, std::span<const float> table) const {
    double error = 0;
    for (std::size_t r = 0; r < cut_.outer; ++r)
      for (std::size_t i = cut_.position(g, r), end = i + cut_.run(); i < end; ++i) {
        double value = double(number_of(weights_[i]));
        if (coding_.skip_zeros && value == 0) continue;
        double off = value - double(table[result_.codes[i]]);
        error += off * off * (coding_.error_factor.empty() ? 1.0 : double(coding_.error_factor[i]));
      }
    return error;
  }

  // f(element of the first member, distance between members, index of the vector) for each vector of the group.
  template <class F>
  void each_vector(std::size_t g, F f) const {
    std::size_t size = coding_.vector, rows = cut_.group_channels / size;
    for (std::size_t r = 0; r < cut_.outer; ++r)
      for (std::size_t row = 0; row < rows; ++row)
        for (std::size_t i = 0; i < cut_.inner; ++i)
          f(cut_.position(g, r) + row * size * cut_.inner + i, cut_.inner,
            cut_.position(g, r) / size + row * cut_.inner + i);
  }

  Status vector_group(std::size_t g, Workspace&, bool fit, bool encode) {
    std::size_t size = coding_.vector;
    std::vector<float> points, factors;
    points.reserve(cut_.elements());
    each_vector(g, [&](std::size_t first, std::size_t apart, std::size_t) {
      float factor = 0;
      for (std::size_t v = 0; v < size; ++v) {
        points.push_back(number_of(weights_[first + v * apart]));
        if (!coding_.importance.empty()) factor += coding_.importance[first + v * apart];
      }
      if (!coding_.importance.empty()) factors.push_back(factor);
    });
    std::span<float> table = table_of(g);
    if (fit) POM_TRY(fit_vectors(points, factors, table));
    if (!encode) return {};
    std::vector<std::uint8_t> nearest = nearest_vectors(points, table, size);
    std::size_t next = 0;
    double error = 0;
    each_vector(g, [&](std::size_t first, std::size_t apart, std::size_t index) {
      result_.codes[index] = nearest[next];
      for (std::size_t v = 0; v < size; ++v) {
        double off = double(points[next * size + v]) - double(table[nearest[next] * size + v]);
        error += off * off * (coding_.error_factor.empty() ? 1.0 : double(coding_.error_factor[first + v * apart]));
      }
      ++next;
    });
    errors_[g] = error;
    return {};
  }

  Status fit_vectors(std::span<const float> points, std::span<const float> factors, std::span<float> table) {
    std::size_t size = coding_.vector;
    if (coding_.mode == TableMode::unique) {
      std::set<std::vector<float>> distinct;
      for (std::size_t i = 0; i < points.size(); i += size)
        distinct.emplace(points.begin() + std::ptrdiff_t(i), points.begin() + std::ptrdiff_t(i + size));
      POM_REQUIRE(distinct.size() <= entries_, "{} vectors do not fit a table of {}", distinct.size(), entries_);
      auto out = table.begin();
      for (const auto& each : distinct) out = std::ranges::copy(each, out).out;
      while (out != table.end()) out = std::ranges::copy(*distinct.rbegin(), out).out;
      return {};
    }
    VectorTable fitted = vector_kmeans(points, factors, {.dimension = size, .clusters = entries_});
    for (std::size_t i = 0; i < table.size(); ++i) table[i] = stored(dtype, fitted.centroids[i]);
    return {};
  }

  // One scale for all tables, as coremltools has it; afterwards the tables are what will be read back.
  void quantise_tables() {
    float largest = 0;
    for (float value : result_.tables) largest = std::max(largest, std::fabs(value));
    result_.table_scale = largest > 0 ? stored(dtype, double(largest) / 127) : 1;
    if (result_.table_scale == 0) result_.table_scale = dtype == DType::fp16 ? float(smallest_half) : 0x1p-126f;
    result_.int8_tables.resize(result_.tables.size());
    for (std::size_t i = 0; i < result_.tables.size(); ++i) {
      double code = std::clamp(std::nearbyint(double(result_.tables[i]) / double(result_.table_scale)), -127.0, 127.0);
      result_.int8_tables[i] = std::int8_t(code);
      result_.tables[i] = stored(dtype, code * double(result_.table_scale));
    }
  }

  std::span<const Element> weights_;
  const TableCoding& coding_;
  const Groups& cut_;
  std::size_t entries_;
  TableCodes result_;
  std::vector<double> errors_;
};

template <class Element>
Result<std::size_t> most_distinct(std::span<const Element> weights, const Groups& cut, std::size_t vector) {
  std::size_t most = 0;
  Workspace space;
  for (std::size_t g = 0; g < cut.groups; ++g) {
    auto values = gather(weights, cut, g, space.gathered);
    if (vector == 1) {
      most = std::max(most, POM_TRY(distinct_values(values, {}, space)).values.size());
      continue;
    }
    std::set<std::vector<Element>> distinct;
    std::size_t rows = cut.group_channels / vector;
    for (std::size_t r = 0; r < cut.outer && distinct.size() <= 256; ++r)
      for (std::size_t row = 0; row < rows && distinct.size() <= 256; ++row)
        for (std::size_t i = 0; i < cut.inner; ++i) {
          std::vector<Element> point;
          for (std::size_t v = 0; v < vector; ++v)
            point.push_back(values[r * cut.run() + (row * vector + v) * cut.inner + i]);
          distinct.insert(std::move(point));
        }
    most = std::max(most, distinct.size());
  }
  return most;
}

}  // namespace

Result<TableCodes> fit_tables(const Tensor& tensor, const TableCoding& coding) {
  if (tensor.dtype() == DType::fp16) return Fit<std::uint16_t>(tensor, coding).run();
  return Fit<float>(tensor, coding).run();
}

Result<unsigned> bits_of_unique(const Tensor& tensor, const Groups& cut, std::size_t vector, bool three_bits) {
  std::size_t most = POM_TRY(tensor.dtype() == DType::fp16 ? most_distinct(tensor.view<std::uint16_t>(), cut, vector)
                                                           : most_distinct(tensor.view<float>(), cut, vector));
  for (int bits : table_bits)
    if (most <= std::size_t(1) << bits && (bits != 3 || three_bits)) return unsigned(bits);
  return fail("it has {} distinct {}{}, and a table holds 256",
              most > 256 && vector > 1 ? "more than 256" : std::to_string(most), vector > 1 ? "vectors" : "values",
              cut.groups > 1 ? " in a group" : "");
}

}  // namespace pomona::compress
