#include "formats/onnx/weight_scale.h"

#include <fmt/format.h>

#include "base/threads.h"

namespace pomona::onnx {
namespace {

// Element e of the weight is multiplied by scale e / inner % count.
struct Pattern {
  std::size_t count = 1, inner = 1;
};

std::optional<Pattern> pattern_of(const Sizes& weight, const Sizes& scale) {
  if (scale.size() > weight.size()) return {};
  Pattern p;
  std::size_t lead = weight.size() - scale.size(), inner = 1;
  for (std::size_t i = weight.size(); i-- > lead;) {
    std::int64_t size = scale[i - lead];
    if (size != 1) {
      if (size != weight[i] || p.count != 1) return {};
      p = {std::size_t(size), inner};
    }
    inner *= std::size_t(weight[i]);
  }
  // One scale for all: any row length will do.
  if (p.count == 1 && !weight.empty()) p.inner = std::size_t(weight.back());
  return p;
}

template <class T>
void multiply(const Tensor& x, const Tensor& scales, Pattern p, Tensor& out) {
  const T* in = reinterpret_cast<const T*>(x.data());
  const float* s = scales.view<float>().data();
  float* to = reinterpret_cast<float*>(out.mutable_data());
  std::size_t block = p.count * p.inner, blocks = block ? x.count() / block : 0;
  // Rows are what is shared out, whether there are many blocks or one.
  std::size_t row = p.inner == 1 ? p.count : p.inner, rows = p.inner == 1 ? blocks : blocks * p.count;
  parallel_for(rows, 64, [&](std::size_t first, std::size_t last) {
    for (std::size_t r = first; r < last; ++r) {
      const T* from = in + r * row;
      float* target = to + r * row;
      if (p.inner == 1) {
        for (std::size_t i = 0; i < row; ++i) target[i] = float(from[i]) * s[i];
      } else {
        float factor = s[r % p.count];
        for (std::size_t i = 0; i < row; ++i) target[i] = float(from[i]) * factor;
      }
    }
  });
}

}  // namespace

std::optional<Weight> scaled_weight(const Weight& a, const Weight& b) {
  if (a.dtype() != DType::fp32 || b.dtype() != DType::fp32) return {};
  if (a.count() < b.count()) return scaled_weight(b, a);
  auto pattern = pattern_of(a.sizes(), b.sizes());
  if (!pattern) return {};
  // Straight from the integers where they are what was cast.
  Weight source = a;
  if (const Weight::Step* step = a.step(); step && step->what == "cast to fp32") {
    DType from = step->inputs[0].dtype();
    if (from == DType::int8 || from == DType::uint8) source = step->inputs[0];
  }
  return Weight::derived({fmt::format("times scale {}x{}", pattern->count, pattern->inner),
                          DType::fp32,
                          a.sizes(),
                          {source, b},
                          [p = *pattern](std::span<const Tensor> in) -> Result<Tensor> {
                            Tensor out(DType::fp32, in[0].sizes());
                            if (in[0].dtype() == DType::int8)
                              multiply<std::int8_t>(in[0], in[1], p, out);
                            else if (in[0].dtype() == DType::uint8)
                              multiply<std::uint8_t>(in[0], in[1], p, out);
                            else
                              multiply<float>(in[0], in[1], p, out);
                            return out;
                          }});
}

}  // namespace pomona::onnx
