// Attention: a few queries' scores at a time, which never leave the cache.
#include "ops/attention.h"

#include <algorithm>
#include <cmath>

#include "base/threads.h"
#include "cpu/gemm.h"
#include "cpu/kernels/kernels.h"
#include "cpu/row_kernels.h"

namespace pomona::cpu {
namespace {

constexpr std::size_t queries_per_task = 4 * most_block_rows;

struct AttentionPlan {
  std::size_t batch, queries, keys, width, out_width;
  float scale;
  SlotNumber query, key, value, mask = no_slot, y;
  bool mask_is_bool = false;
  Sizes mask_sizes, mask_strides;  // of batch dims and queries; the last stride is along the keys
  Finish finish;

  std::size_t key_elements() const { return (packed_elements(width, keys) + 15) / 16 * 16; }
  std::size_t value_elements() const { return (packed_elements(keys, out_width) + 15) / 16 * 16; }
};

void add_mask(const AttentionPlan& p, const Frame& f, std::size_t row, float* scores) {
  std::int64_t at = 0;
  for (std::size_t d = p.mask_sizes.size(), rest = row; d-- > 0; rest /= std::size_t(p.mask_sizes[d]))
    at += std::int64_t(rest % std::size_t(p.mask_sizes[d])) * p.mask_strides[d];
  std::int64_t step = p.mask_strides.back();
  for (std::size_t k = 0; k < p.keys; ++k, at += step) {
    if (!p.mask_is_bool)
      scores[k] += f.read<float>(p.mask)[at];
    else if (!f.read<std::uint8_t>(p.mask)[at])
      scores[k] = -INFINITY;
  }
}

void attend(const AttentionPlan& p, const Frame& f, std::size_t batch, std::size_t first, std::size_t rows) {
  const float* packed = reinterpret_cast<const float*>(f.scratch()) + batch * (p.key_elements() + p.value_elements());
  std::vector<float> scores(rows * p.keys);
  std::size_t row = batch * p.queries + first;
  PackedView keys{packed, p.width, p.keys}, values{packed + p.key_elements(), p.keys, p.out_width};
  multiply({f.read<float>(p.query) + row * p.width, std::ptrdiff_t(p.width), keys, nullptr, scores.data(),
            std::ptrdiff_t(p.keys), rows},
           0, panel_count(p.keys));
  for (std::size_t r = 0; r < rows; ++r) {
    float* s = &scores[r * p.keys];
    for (std::size_t k = 0; k < p.keys; ++k) s[k] *= p.scale;
    if (p.mask != no_slot) add_mask(p, f, row + r, s);
    softmax_row(s, s, p.keys);
  }
  multiply({scores.data(), std::ptrdiff_t(p.keys), values, nullptr, f.write<float>(p.y) + row * p.out_width,
            std::ptrdiff_t(p.out_width), rows},
           0, panel_count(p.out_width));
  p.finish(f, row * p.out_width, rows * p.out_width);
}

void run_attention(const AttentionPlan& p, const Frame& f) {
  float* packed = reinterpret_cast<float*>(f.scratch());
  parallel_for(p.batch, 1, [&](std::size_t begin, std::size_t end) {
    for (std::size_t b = begin; b < end; ++b) {
      float* to = packed + b * (p.key_elements() + p.value_elements());
      Matrix keys{f.read<float>(p.key) + b * p.keys * p.width, p.width, p.keys, 1, std::ptrdiff_t(p.width)};
      Matrix values{f.read<float>(p.value) + b * p.keys * p.out_width, p.keys, p.out_width, std::ptrdiff_t(p.out_width),
                    1};
      pack_panels(keys, 0, panel_count(p.keys), to);
      pack_panels(values, 0, panel_count(p.out_width), to + p.key_elements());
    }
  });
  std::size_t tasks = (p.queries + queries_per_task - 1) / queries_per_task;
  parallel_for(p.batch * tasks, 1, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      std::size_t first = i % tasks * queries_per_task;
      attend(p, f, i / tasks, first, std::min(queries_per_task, p.queries - first));
    }
  });
}

Kernel plan_attention(const mil::scaled_dot_product_attention& op, PlanContext& at) {
  Sizes q = known_sizes(op.query.shape()), k = known_sizes(op.key.shape()), out = at.result_sizes();
  std::size_t rank = q.size();
  auto plan = std::make_shared<AttentionPlan>();
  plan->batch = std::size_t(element_count(Sizes(q.begin(), q.end() - 2)));
  plan->queries = std::size_t(q[rank - 2]);
  plan->keys = std::size_t(k[rank - 2]);
  plan->width = std::size_t(q[rank - 1]);
  plan->out_width = std::size_t(out[rank - 1]);
  plan->scale = float(1 / std::sqrt(double(plan->width)));
  if (element_count(out) * std::int64_t(plan->keys * plan->width) == 0 || at.accumulate_half) return {};
  plan->query = at.source(op.query);
  plan->key = at.source(op.key);
  plan->value = at.source(op.value);
  plan->y = at.result();
  plan->finish = at.finish;
  if (op.attn_mask) {
    plan->mask = at.source(op.attn_mask);
    plan->mask_is_bool = op.attn_mask.dtype() == DType::boolean;
    Sizes own = known_sizes(op.attn_mask.shape()), strides = strides_of(own);
    plan->mask_sizes.assign(q.begin(), q.end() - 1);
    plan->mask_strides.assign(rank, 0);
    for (std::size_t d = 0; d < own.size(); ++d)
      if (own[d] != 1) plan->mask_strides[rank - own.size() + d] = strides[d];
  }
  return {.run = [plan](const Frame& f) { run_attention(*plan, f); },
          .scratch_bytes = 4 * plan->batch * (plan->key_elements() + plan->value_elements()),
          .name = "attention"};
}

}  // namespace

std::vector<KernelRule> attention_kernels() {
  return {kernel<mil::scaled_dot_product_attention, plan_attention>({.finishes = true})};
}

}  // namespace pomona::cpu
