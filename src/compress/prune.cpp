#include "compress/prune.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <numeric>

#include "base/bits.h"
#include "base/half.h"
#include "ops/constexpr.h"

namespace pomona::compress {
namespace {

enum class Rule : unsigned char { magnitude, blocks, n_of_m, threshold };

// Magnitudes in steps of a 2^-8 part, so that the weights of a whole program can be counted in little memory.
class MagnitudeCounts {
 public:
  void add(std::span<const float> magnitudes) {
    for (float magnitude : magnitudes) ++counts_[bin(magnitude)];
    total_ += magnitudes.size();
  }
  // The magnitude below which at most that part of all lies.
  float below(double part) const {
    auto budget = std::uint64_t(std::floor(part * double(total_)));
    std::uint64_t sum = 0;
    for (std::size_t b = 0; b < counts_.size(); ++b) {
      if (sum + counts_[b] > budget) return std::bit_cast<float>(std::uint32_t(b) << 15);
      sum += counts_[b];
    }
    return std::numeric_limits<float>::infinity();
  }

 private:
  static std::size_t bin(float magnitude) { return std::bit_cast<std::uint32_t>(magnitude) >> 15; }
  std::vector<std::uint64_t> counts_ = std::vector<std::uint64_t>(1 << 16);
  std::uint64_t total_ = 0;
};

std::vector<float> magnitudes_of(const Tensor& tensor) {
  std::vector<float> magnitudes(tensor.count());
  if (tensor.dtype() == DType::fp16)
    halves_to_floats(tensor.view<std::uint16_t>(), magnitudes.data());
  else
    std::ranges::copy(tensor.view<float>(), magnitudes.begin());
  for (float& value : magnitudes) value = std::fabs(value);
  return magnitudes;
}

// Which of the numbers are among the `count` smallest: all below the limit, and the first `ties` that equal it.
struct Limit {
  float value = 0;
  std::size_t ties = 0;
};
Limit limit_of(std::vector<float> numbers, std::size_t count) {
  if (count == 0) return {-1, 0};
  if (count >= numbers.size()) return {std::numeric_limits<float>::infinity(), 0};
  auto last = numbers.begin() + std::ptrdiff_t(count - 1);
  std::nth_element(numbers.begin(), last, numbers.end());
  float value = *last;
  return {value, std::size_t(std::count(numbers.begin(), last + 1, value))};
}

// fp16 magnitudes are counted instead of being put in order.
Limit limit_of_halves(std::span<const std::uint16_t> halves, std::size_t count) {
  if (count == 0) return {-1, 0};
  if (count >= halves.size()) return {std::numeric_limits<float>::infinity(), 0};
  std::vector<std::uint32_t> counts(1 << 15);
  for (std::uint16_t half : halves) ++counts[half & 0x7FFF];
  std::size_t sum = 0;
  for (std::size_t b = 0; b < counts.size(); ++b) {
    if (sum + counts[b] >= count) return {half_to_float(std::uint16_t(b)), count - sum};
    sum += counts[b];
  }
  return {};
}

// What decides about a weight, found once; the mask follows from it and the weight's elements.
struct Decision {
  Rule rule = Rule::magnitude;
  std::vector<Limit> limits;  // one, or one per channel
  std::size_t channel_axis = 0;
  std::int64_t block = 1, n = 0, m = 1;
  int dim = 0;
};

// Positions of the elements along `axis` are `inner` apart.
struct Along {
  std::size_t outer, size, inner;
  Along(const Sizes& sizes, std::size_t axis)
      : outer(1), size(std::size_t(sizes[axis])), inner(std::size_t(strides_of(sizes)[axis])) {
    outer = std::size_t(element_count(sizes)) / (size * inner);
  }
};

void keep_above(std::span<const float> magnitudes, const Decision& decision, const Sizes& sizes,
                std::vector<std::uint8_t>& keep) {
  std::vector<Limit> limits = decision.limits;
  Along along(sizes, decision.channel_axis);
  if (limits.size() == 1) along.inner = magnitudes.size();
  for (std::size_t first = 0, run = 0; first < magnitudes.size(); first += along.inner, ++run) {
    Limit& limit = limits[limits.size() == 1 ? 0 : run % along.size];
    const float least = std::max(limit.value, 0.0f);
    for (std::size_t i = first; i < first + along.inner; ++i) {
      keep[i] = magnitudes[i] > least;
      if (magnitudes[i] != limit.value || magnitudes[i] == 0) continue;
      keep[i] = limit.ties == 0;
      limit.ties -= limit.ties > 0;
    }
  }
}

std::vector<float> block_norms(std::span<const float> magnitudes, const Sizes& sizes, int dim, std::int64_t block) {
  Along along(sizes, std::size_t(dim));
  std::size_t blocks = (along.size + std::size_t(block) - 1) / std::size_t(block);
  std::vector<float> norms(along.outer * blocks * along.inner);
  for (std::size_t i = 0; i < magnitudes.size(); ++i) {
    std::size_t outer = i / (along.size * along.inner), at = i / along.inner % along.size, inner = i % along.inner;
    norms[(outer * blocks + at / std::size_t(block)) * along.inner + inner] += magnitudes[i] * magnitudes[i];
  }
  return norms;
}

void keep_blocks(std::span<const float> magnitudes, const Decision& decision, const Sizes& sizes,
                 std::vector<std::uint8_t>& keep) {
  std::vector<float> norms = block_norms(magnitudes, sizes, decision.dim, decision.block);
  Sizes as_row{std::int64_t(norms.size())};
  Decision by_norm = decision;
  by_norm.channel_axis = 0;
  std::vector<std::uint8_t> kept(norms.size());
  keep_above(norms, by_norm, as_row, kept);
  Along along(sizes, std::size_t(decision.dim));
  auto block = std::size_t(decision.block);
  std::size_t blocks = (along.size + block - 1) / block;
  for (std::size_t i = 0; i < keep.size(); ++i) {
    std::size_t outer = i / (along.size * along.inner), at = i / along.inner % along.size, inner = i % along.inner;
    keep[i] = kept[(outer * blocks + at / block) * along.inner + inner] && magnitudes[i] != 0;
  }
}

void keep_m_minus_n(std::span<const float> magnitudes, const Decision& decision, const Sizes& sizes,
                    std::vector<std::uint8_t>& keep) {
  Along along(sizes, std::size_t(decision.dim));
  auto m = std::size_t(decision.m), n = std::size_t(decision.n);
  std::vector<std::size_t> order(m);
  for (std::size_t outer = 0; outer < along.outer; ++outer)
    for (std::size_t inner = 0; inner < along.inner; ++inner)
      for (std::size_t first = 0; first < along.size; first += m) {
        auto place = [&](std::size_t k) { return (outer * along.size + first + k) * along.inner + inner; };
        // Positions behind the end count as zeros and go first.
        std::size_t there = std::min(m, along.size - first), padding = m - there;
        std::iota(order.begin(), order.begin() + std::ptrdiff_t(there), std::size_t(0));
        std::stable_sort(order.begin(), order.begin() + std::ptrdiff_t(there),
                         [&](std::size_t a, std::size_t b) { return magnitudes[place(a)] < magnitudes[place(b)]; });
        for (std::size_t k = 0; k < there; ++k) {
          std::size_t i = place(order[k]);
          keep[i] = k + padding >= n && magnitudes[i] != 0;
        }
      }
}

std::vector<std::uint8_t> mask_of(std::span<const float> magnitudes, const Sizes& sizes, const Decision& decision) {
  std::vector<std::uint8_t> keep(magnitudes.size());
  if (decision.rule == Rule::n_of_m)
    keep_m_minus_n(magnitudes, decision, sizes, keep);
  else if (decision.rule == Rule::blocks)
    keep_blocks(magnitudes, decision, sizes, keep);
  else
    keep_above(magnitudes, decision, sizes, keep);
  return keep;
}
std::vector<std::uint8_t> mask_of(const Tensor& tensor, const Decision& decision) {
  return mask_of(magnitudes_of(tensor), tensor.sizes(), decision);
}

Tensor byte_tensor(DType dtype, const Sizes& sizes, std::vector<std::uint8_t> bytes) {
  auto owner = std::make_shared<const std::vector<std::uint8_t>>(std::move(bytes));
  return Tensor(dtype, sizes, Bytes(owner, *owner));
}

Tensor zeroed(const Tensor& tensor, std::span<const std::uint8_t> keep) {
  Tensor out(tensor.dtype(), tensor.sizes());
  std::size_t width = element_size_bytes(tensor.dtype());
  std::uint8_t* to = out.mutable_data();
  for (std::size_t i = 0; i < keep.size(); ++i)
    if (keep[i]) std::memcpy(to + i * width, tensor.data() + i * width, width);
  return out;
}

template <class Element>
void keep_elements(const Tensor& tensor, std::span<const std::uint8_t> keep, Tensor& out) {
  std::span<const Element> from = tensor.view<Element>();
  std::span<Element> to = out.mutable_view<Element>();
  // Whatever follows overwrites what is not kept: no branch that nobody could predict.
  for (std::size_t i = 0, next = 0; i < keep.size() && next < to.size(); ++i) {
    to[next] = from[i];
    next += keep[i];
  }
}

Tensor kept(const Tensor& tensor, std::span<const std::uint8_t> keep, std::int64_t ones) {
  Tensor out(tensor.dtype(), {ones});
  if (tensor.dtype() == DType::fp16)
    keep_elements<std::uint16_t>(tensor, keep, out);
  else
    keep_elements<float>(tensor, keep, out);
  return out;
}

double squares_left_out(std::span<const float> magnitudes, std::span<const std::uint8_t> keep) {
  std::array<double, 4> sums{};
  for (std::size_t i = 0; i < keep.size(); ++i) {
    double magnitude = double(magnitudes[i]);
    sums[i % 4] += keep[i] ? 0.0 : magnitude * magnitude;
  }
  return sums[0] + sums[1] + sums[2] + sums[3];
}

class PruneScheme : public Scheme {
 public:
  static Result<std::shared_ptr<const Scheme>> make(const SchemeOptions& given) {
    auto scheme = std::make_shared<PruneScheme>();
    PruneOptions& o = scheme->options_;
    POM_TRY(set_fields(o, given));
    bool magnitude = o.target_sparsity->has_value(), n_of_m = !o.n_m_ratio->empty(), blocks = !o.block_size->empty();
    POM_REQUIRE(!(magnitude && n_of_m), "target_sparsity and n_m_ratio exclude each other");
    POM_REQUIRE(!o.threshold->has_value() || !(magnitude || n_of_m),
                "threshold does not go with target_sparsity or n_m_ratio");
    POM_REQUIRE(!o.minimum_sparsity_percentile->has_value() || !(magnitude || n_of_m),
                "minimum_sparsity_percentile goes with threshold");
    POM_REQUIRE(!blocks || magnitude, "block_size goes with target_sparsity");
    if (magnitude)
      POM_REQUIRE(**o.target_sparsity >= 0 && **o.target_sparsity <= 1, "target_sparsity is {}, not 0 to 1",
                  **o.target_sparsity);
    if (blocks) POM_REQUIRE(o.block_size->size() == 1 && o.block_size->front() > 1, "block_size is one number above 1");
    if (n_of_m)
      POM_REQUIRE(o.n_m_ratio->size() == 2 && o.n_m_ratio->at(0) >= 0 && o.n_m_ratio->at(0) <= o.n_m_ratio->at(1) &&
                      o.n_m_ratio->at(1) > 0,
                  "n_m_ratio is two numbers n:m, n not above m");
    if (o.dim->has_value()) {
      POM_REQUIRE(blocks || n_of_m, "dim goes with block_size or n_m_ratio");
      POM_REQUIRE(**o.dim == 0 || **o.dim == 1, "dim is 0 or 1, not {}", **o.dim);
    }
    if (o.threshold->has_value()) POM_REQUIRE(**o.threshold >= 0, "threshold is {}", **o.threshold);
    double least = o.minimum_sparsity_percentile->value_or(0.5);
    POM_REQUIRE(least >= 0 && least <= 1, "minimum_sparsity_percentile is {}, not 0 to 1", least);
    POM_REQUIRE(*o.budget == "per_weight" || *o.budget == "per_channel" || *o.budget == "global",
                "budget is per_weight, per_channel or global, not '{}'", *o.budget);
    POM_REQUIRE(*o.budget == "per_weight" || (magnitude && !blocks), "budget {} goes with target_sparsity alone",
                *o.budget);
    scheme->rule_ = blocks ? Rule::blocks : magnitude ? Rule::magnitude : n_of_m ? Rule::n_of_m : Rule::threshold;
    return std::shared_ptr<const Scheme>(std::move(scheme));
  }

  std::string_view scheme_name() const override { return "prune"; }
  std::int64_t weight_threshold() const override { return options_.weight_threshold; }
  bool looks_at_all() const override { return *options_.budget == "global"; }
  void look_at(const Tensor& tensor) const override { all_->add(magnitudes_of(tensor)); }

  Status check(Target opset) const override {
    if (opset >= iOS16) return {};
    return fail("the program is for {}, but compressed weights need iOS16", name(opset))
        .advise("convert the model with --target iOS16 or later");
  }

  Result<Decision> decide(const Candidate& candidate) const {
    const PruneOptions& o = options_;
    const Sizes& sizes = candidate.weight.sizes();
    Decision decision{rule_, {}, 0, 1, 0, 1, o.dim->value_or(rule_ == Rule::blocks ? 0 : 1)};
    if (rule_ == Rule::blocks || rule_ == Rule::n_of_m) {
      POM_REQUIRE(candidate.structural, "blocks and n:m are for weights of conv and linear");
      std::int64_t size = rule_ == Rule::blocks ? o.block_size->front() : o.n_m_ratio->at(1);
      POM_REQUIRE(2 * size <= sizes[std::size_t(decision.dim)], "{} is more than half of its {} channels", size,
                  sizes[std::size_t(decision.dim)]);
    }
    if (rule_ == Rule::n_of_m) {
      decision.n = o.n_m_ratio->at(0), decision.m = o.n_m_ratio->at(1);
      return decision;
    }
    if (rule_ == Rule::threshold) {
      decision.limits = {{std::nextafter(float(o.threshold->value_or(1e-12)), std::numeric_limits<float>::max()), 0}};
      return decision;
    }
    double part = **o.target_sparsity;
    auto floor_of = [&](std::size_t count) { return std::size_t(std::floor(part * double(count) + 1e-9)); };
    if (rule_ == Rule::blocks) {
      decision.block = o.block_size->front();
      std::vector<float> norms = block_norms(magnitudes_of(candidate.tensor), sizes, decision.dim, decision.block);
      decision.limits = {limit_of(norms, floor_of(norms.size()))};
    } else if (*o.budget == "global") {
      decision.limits = {{all_->below(part), 0}};
    } else if (*o.budget == "per_channel") {
      decision.channel_axis = POM_TRY(Result<ChannelAxes>(candidate.axes)).output;
      decision.limits = channel_limits(candidate.tensor, decision.channel_axis, floor_of);
    } else if (candidate.tensor.dtype() == DType::fp16) {
      decision.limits = {limit_of_halves(candidate.tensor.view<std::uint16_t>(), floor_of(candidate.tensor.count()))};
    } else {
      decision.limits = {limit_of(magnitudes_of(candidate.tensor), floor_of(candidate.tensor.count()))};
    }
    return decision;
  }

  Result<std::optional<Zeros>> zeros(const Candidate& candidate) const override {
    const PruneOptions& o = options_;
    if (rule_ == Rule::blocks || rule_ == Rule::threshold || !candidate.axes) return std::optional<Zeros>();
    if (rule_ == Rule::n_of_m) {
      if (!candidate.structural || o.dim->value_or(1) != 1) return std::optional<Zeros>();
      return std::optional(Zeros{std::size_t(o.n_m_ratio->at(0)), std::size_t(o.n_m_ratio->at(1)), 0, false});
    }
    Look found = POM_TRY(look(candidate));
    std::size_t count = candidate.weight.count() - std::size_t(found.ones);
    return std::optional(Zeros{0, 0, count, *o.budget == "per_channel"});
  }

  struct Look {
    Decision decision;
    std::int64_t ones = 0;
    double squared_error = 0;
    std::string words;
  };
  Result<Look> look(const Candidate& candidate) const {
    Look found{POM_TRY(decide(candidate)), 0, 0, {}};
    // What data have chosen are the zeros that are there.
    if (candidate.kept) found.decision = {Rule::threshold, {{-1, 0}}, 0, 1, 0, 1, 1};
    std::vector<float> magnitudes = magnitudes_of(candidate.tensor);
    std::vector<std::uint8_t> keep = mask_of(magnitudes, candidate.tensor.sizes(), found.decision);
    found.ones = std::accumulate(keep.begin(), keep.end(), std::int64_t(0));
    found.squared_error = squares_left_out(magnitudes, keep);
    double zeros = 1 - double(found.ones) / double(std::max<std::size_t>(1, keep.size()));
    double least = options_.minimum_sparsity_percentile->value_or(0.5);
    if (candidate.kept) found.squared_error = candidate.lost;
    POM_REQUIRE(rule_ != Rule::threshold || zeros >= least, "{:.1f} % are zeros, and minimum_sparsity_percentile is {}",
                100 * zeros, least);
    found.words = fmt::format("{:.1f} % zeros{}{}", 100 * zeros, kind(), candidate.kept ? ", chosen with data" : "");
    return found;
  }

  Result<Encoded> encode(const Candidate& candidate) const override {
    Look found = POM_TRY(look(candidate));
    Encoded encoded;
    encoded.scheme = "sparse, " + found.words;
    encoded.error_before = found.squared_error;
    auto measured = std::make_shared<Measured>();
    measured->squared_error = 0;
    encoded.measured = measured;
    bool old_form = candidate.opset < iOS18;
    const Sizes& sizes = candidate.weight.sizes();
    PartType mask{DType::uint1, sizes};
    if (old_form) mask = {DType::uint8, {std::int64_t(packed_size_bytes(candidate.weight.count(), 1))}};
    auto make = [decision = found.decision, ones = found.ones, mask](std::span<const Tensor> in) -> Result<Tensors> {
      std::vector<std::uint8_t> keep = mask_of(in[0], decision);
      Tensor values = kept(in[0], keep, ones);
      if (mask.dtype == DType::uint8) keep = pack_bits(keep, 1);
      return Tensors{std::move(values), byte_tensor(mask.dtype, mask.sizes, std::move(keep))};
    };
    auto parts = parts_of("prune " + identity(found) + (old_form ? " packed" : ""), {candidate.weight},
                          {{candidate.weight.dtype(), {found.ones}}, mask}, make, candidate.shelf);
    if (old_form)
      encoded.add(stage<mil::constexpr_sparse_to_dense_iOS16>({{"nonzero_data", parts[0]}, {"mask", parts[1]}},
                                                              {{"shape", Ints(sizes)}}));
    else
      encoded.add(stage<mil::constexpr_sparse_to_dense>({{"nonzero_data", parts[0]}, {"mask", parts[1]}}));
    return encoded;
  }

  Result<Pruned> split(const Candidate& candidate) const {
    Look found = POM_TRY(look(candidate));
    auto make = [decision = found.decision](std::span<const Tensor> in) -> Result<Tensors> {
      std::vector<std::uint8_t> keep = mask_of(in[0], decision);
      Tensor dense = zeroed(in[0], keep);
      return Tensors{std::move(dense), byte_tensor(DType::uint1, in[0].sizes(), std::move(keep))};
    };
    const Sizes& sizes = candidate.weight.sizes();
    auto parts = parts_of("zeros " + identity(found), {candidate.weight},
                          {{candidate.weight.dtype(), sizes}, {DType::uint1, sizes}}, make, candidate.shelf);
    return Pruned{parts[0], parts[1], found.ones, found.squared_error, found.words};
  }

 private:
  template <class FloorOf>
  static std::vector<Limit> channel_limits(const Tensor& tensor, std::size_t axis, FloorOf floor_of) {
    std::vector<float> magnitudes = magnitudes_of(tensor);
    Along along(tensor.sizes(), axis);
    std::vector<std::vector<float>> channels(along.size);
    for (std::size_t i = 0; i < magnitudes.size(); ++i) channels[i / along.inner % along.size].push_back(magnitudes[i]);
    std::vector<Limit> limits;
    for (auto& channel : channels) limits.push_back(limit_of(channel, floor_of(channel.size())));
    return limits;
  }

  std::string kind() const {
    if (rule_ == Rule::n_of_m)
      return fmt::format(", {}:{} along axis {}", options_.n_m_ratio->at(0), options_.n_m_ratio->at(1),
                         options_.dim->value_or(1));
    if (rule_ == Rule::blocks)
      return fmt::format(", blocks of {} along axis {}", options_.block_size->front(), options_.dim->value_or(0));
    if (*options_.budget == "global") return ", one budget for all";
    return *options_.budget == "per_channel" ? ", a budget per channel" : "";
  }

  static std::string identity(const Look& found) {
    std::string text = fmt::format("{} {} {} {} {}", int(found.decision.rule), found.decision.block, found.decision.n,
                                   found.decision.m, found.decision.dim);
    for (const Limit& limit : found.decision.limits) text += fmt::format(" {} {}", limit.value, limit.ties);
    return text;
  }

  PruneOptions options_;
  Rule rule_ = Rule::magnitude;
  std::shared_ptr<MagnitudeCounts> all_ = std::make_shared<MagnitudeCounts>();
};

}  // namespace

Result<std::shared_ptr<const Scheme>> make_prune(const SchemeOptions& options) { return PruneScheme::make(options); }

Result<Pruned> prune(const Scheme& scheme, const Candidate& candidate) {
  return static_cast<const PruneScheme&>(scheme).split(candidate);
}

}  // namespace pomona::compress
