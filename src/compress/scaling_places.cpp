#include "compress/scaling_places.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "ir/builder.h"
#include "ops/activation.h"
#include "ops/conv.h"
#include "ops/elementwise_binary.h"
#include "ops/linear.h"
#include "ops/norm.h"

namespace pomona::compress {
namespace {

bool used_here_only(Value value, const Node& by) {
  return value.block() == by.block() &&
         std::ranges::all_of(value.users(), [&](const Node* user) { return user == &by; });
}

// The axis of a constant operand that runs along that axis of the result, where it has nothing else.
std::optional<std::size_t> vector_axis(Value constant, Value result, std::size_t axis) {
  if (!constant.literal() || !is_float(constant.dtype())) return {};
  std::size_t behind = result.rank() - axis;
  if (constant.rank() < behind) return {};
  std::size_t at = constant.rank() - behind;
  for (std::size_t d = 0; d < constant.rank(); ++d)
    if (d != at && constant.shape()[d] != Dim(1)) return {};
  return constant.shape()[at] == result.shape()[axis] ? std::optional(at) : std::nullopt;
}

bool is_number(Value value) { return value.literal() && value.literal()->count() == 1; }

// One step upwards; what is found is added to the fold.
class Finder {
 public:
  bool find(Value value, std::size_t axis) {
    Node* node = value.producer();
    if (!node || node->output_count() != 1 || !is_float(value.dtype()) || depth_ > 8) return false;
    fold_.values.emplace_back(value, axis);
    ++depth_;
    if (is<mil::layer_norm>(node) || is<mil::batch_norm>(node)) return norm(*node, axis);
    if (is<mil::linear>(node) || is<mil::conv>(node)) return layer(*node, axis);
    if (is<mil::matmul>(node)) return product(*node, axis);
    if (is<mil::relu>(node) || is<mil::leaky_relu>(node)) return behind(*node, node->input("x"), axis);
    if (is<mil::mul>(node)) return factor(*node, axis);
    if (is<mil::real_div>(node) && is_number(node->input("y"))) return behind(*node, node->input("x"), axis);
    if (is<mil::add>(node)) return sum(*node, axis);
    return false;
  }
  Fold take() { return std::move(fold_); }

 private:
  bool behind(const Node& node, Value input, std::size_t axis) {
    return input.rank() == node.output().rank() && input.shape()[axis] == node.output().shape()[axis] &&
           used_here_only(input, node) && find(input, axis);
  }
  void place(Node& node, std::string field, std::size_t axis) {
    fold_.places.push_back({&node, std::move(field), axis});
  }

  bool norm(Node& node, std::size_t axis) {
    if (is<mil::layer_norm>(&node)) {
      const Ints& axes = std::get<Ints>(node.attribute("axes"));
      auto rank = std::int64_t(node.output().rank());
      if (axes.size() != 1 || (axes[0] + rank) % rank != std::int64_t(axis)) return false;
    } else if (axis != 1) {
      return false;
    }
    // Without a gamma there is nothing to scale, and making one costs nothing.
    place(node, "gamma", 0);
    if (Value beta = node.input("beta")) {
      if (!beta.literal()) return false;
      place(node, "beta", 0);
    }
    return !node.input("gamma") || node.input("gamma").literal();
  }

  bool layer(Node& node, std::size_t axis) {
    bool conv = is<mil::conv>(&node);
    if (axis != (conv ? 1 : node.output().rank() - 1)) return false;
    Value weight = node.input("weight"), bias = node.input("bias");
    if (!weight.literal() || !used_here_only(weight, node) || (bias && !bias.literal())) return false;
    place(node, "weight", 0);
    if (bias) place(node, "bias", 0);
    return true;
  }

  bool product(Node& node, std::size_t axis) {
    Value y = node.input("y");
    if (axis + 1 != node.output().rank() || !y.literal() || y.rank() != 2 || !used_here_only(y, node)) return false;
    place(node, "y", std::get<bool>(node.attribute("transpose_y")) ? 0 : 1);
    return true;
  }

  bool factor(Node& node, std::size_t axis) {
    if (node.input("x") == node.input("y")) return false;
    for (auto [field, other] : {std::pair("y", "x"), std::pair("x", "y")}) {
      Value value = node.input(field);
      if (auto at = vector_axis(value, node.output(), axis)) {
        place(node, field, *at);
        return true;
      }
      if (is_number(value)) return behind(node, node.input(other), axis);
    }
    // One of two factors is enough.
    Fold before = fold_;
    std::size_t depth = depth_;
    for (const char* field : {"y", "x"}) {
      if (behind(node, node.input(field), axis)) return true;
      fold_ = before;
      depth_ = depth;
    }
    return false;
  }

  bool sum(Node& node, std::size_t axis) {
    for (auto [field, other] : {std::pair("y", "x"), std::pair("x", "y")})
      if (auto at = vector_axis(node.input(field), node.output(), axis)) {
        place(node, field, *at);
        return behind(node, node.input(other), axis);
      }
    return false;
  }

  Fold fold_;
  std::size_t depth_ = 0;
};

std::string text_of(const std::vector<float>& scales) {
  std::uint64_t hash = 1469598103934665603u;
  for (float scale : scales) {
    auto bits = std::bit_cast<std::uint32_t>(scale);
    for (int b = 0; b < 4; ++b) hash = (hash ^ ((bits >> (8 * b)) & 255)) * 1099511628211u;
  }
  return fmt::format("{} scales {:016x}", scales.size(), hash);
}

}  // namespace

std::optional<Fold> find_fold(Value value, std::size_t axis) {
  Finder finder;
  if (!finder.find(value, axis)) return {};
  return finder.take();
}

Weight times_scales(const Weight& weight, std::size_t axis, const Scales& scales, bool divide) {
  Sizes sizes = weight.sizes();
  return Weight::derived({fmt::format("{} {} along axis {}", divide ? "divided by" : "times", text_of(*scales), axis),
                          weight.dtype(),
                          sizes,
                          {weight},
                          [sizes, axis, scales, divide](std::span<const Tensor> in) -> Result<Tensor> {
                            Tensor floats = in[0].converted(DType::fp32);
                            std::span<float> all = floats.mutable_view<float>();
                            auto inner = std::size_t(strides_of(sizes)[axis]);
                            for (std::size_t i = 0; i < all.size(); ++i) {
                              float scale = (*scales)[i / inner % scales->size()];
                              all[i] = divide ? all[i] / scale : all[i] * scale;
                            }
                            return floats.converted(in[0].dtype());
                          }});
}

Status set_constant(Node& node, std::string_view field, Weight weight) {
  Builder g(*node.block(), &node);
  Value before = node.input(field);
  Value made = g.constant(std::move(weight), before ? before.name() : "");
  POM_TRY(Status(g.status()));
  node.set_input(field, made);
  if (before && before.producer() && before.users().empty()) before.block()->erase(*before.producer());
  return {};
}

Status apply_fold(const Fold& fold, const Scales& scales) {
  for (const FoldPlace& place : fold.places) {
    Value constant = place.node->input(place.field);
    Weight weight = constant ? *constant.literal() : Weight();
    if (!weight) {
      Tensor ones(place.node->output().dtype(), {std::int64_t(scales->size())});
      weight = Weight(Tensor::from_numbers(ones.dtype(), ones.sizes(), std::vector<double>(scales->size(), 1.0)));
    }
    POM_TRY(set_constant(*place.node, place.field, times_scales(weight, place.axis, scales, true)));
  }
  return {};
}

}  // namespace pomona::compress
