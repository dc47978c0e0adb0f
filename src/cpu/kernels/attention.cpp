// Attention: a few queries' scores at a time, which never leave the cache. Keys and values may be the halves of a
// state, and columns that the mask closes at the end (what a cache does not hold yet) are not looked at.
#include "ops/attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/half.h"
#include "base/threads.h"
#include "cpu/attention_rows.h"
#include "cpu/gemm.h"
#include "cpu/kernels/kernels.h"
#include "cpu/row_kernels.h"

namespace pomona::cpu {
namespace {

constexpr std::size_t queries_per_task = 4 * most_block_rows;
// So few queries are not worth packing keys and values for.
constexpr std::size_t few_queries = 16;
// An added mask of this closes a column: its weight would be exp(-9900), which is 0.
constexpr float closed_by_addition = -9900;

struct AttentionPlan {
  std::size_t batch, queries, keys, width, out_width;
  float scale;
  SlotNumber query, key, value, mask = no_slot, y;
  bool half_keys = false, half_values = false;
  bool mask_is_bool = false;
  Sizes mask_sizes, mask_strides;  // of batch dims and queries; the last stride is along the keys
  Finish finish;

  std::size_t key_elements() const { return (packed_elements(width, keys) + 15) / 16 * 16; }
  std::size_t value_elements() const { return (packed_elements(keys, out_width) + 15) / 16 * 16; }
  bool few() const { return queries <= few_queries; }
  RowsOf keys_of(const Frame& f, std::size_t b) const {
    return {f.read<std::uint8_t>(key) + b * keys * width * (half_keys ? 2 : 4), half_keys, width};
  }
  RowsOf values_of(const Frame& f, std::size_t b) const {
    return {f.read<std::uint8_t>(value) + b * keys * out_width * (half_values ? 2 : 4), half_values, out_width};
  }
};

std::int64_t mask_row(const AttentionPlan& p, std::size_t row) {
  std::int64_t at = 0;
  for (std::size_t d = p.mask_sizes.size(), rest = row; d-- > 0; rest /= std::size_t(p.mask_sizes[d]))
    at += std::int64_t(rest % std::size_t(p.mask_sizes[d])) * p.mask_strides[d];
  return at;
}

void add_mask(const AttentionPlan& p, const Frame& f, std::size_t row, std::size_t keys, float* scores) {
  std::int64_t at = mask_row(p, row), step = p.mask_strides.back();
  for (std::size_t k = 0; k < keys; ++k, at += step) {
    if (!p.mask_is_bool)
      scores[k] += f.read<float>(p.mask)[at];
    else if (!f.read<std::uint8_t>(p.mask)[at])
      scores[k] = -INFINITY;
  }
}

// How many columns a row of the mask opens, counted to the last of them; all when none is open.
std::size_t open_columns(const AttentionPlan& p, const Frame& f, std::size_t row) {
  std::int64_t at = mask_row(p, row);
  if (p.mask_strides.back() != 1) return p.keys;
  std::size_t open = p.keys;
  if (p.mask_is_bool) {
    const std::uint8_t* mask = f.read<std::uint8_t>(p.mask) + at;
    std::uint64_t eight = 0;
    while (open >= 8 && (std::memcpy(&eight, mask + open - 8, 8), eight == 0)) open -= 8;
    while (open > 0 && !mask[open - 1]) --open;
  } else {
    const float* mask = f.read<float>(p.mask) + at;
    while (open > 0 && mask[open - 1] <= closed_by_addition) --open;
  }
  return open ? open : p.keys;
}
// The same for rows [first, first + rows).
std::size_t open_columns(const AttentionPlan& p, const Frame& f, std::size_t first, std::size_t rows) {
  if (p.mask == no_slot) return p.keys;
  std::size_t most = 0;
  std::int64_t last = -1;
  for (std::size_t r = first; r < first + rows && most < p.keys; ++r) {
    if (std::int64_t at = mask_row(p, r); at == last)
      continue;
    else
      last = at;
    most = std::max(most, open_columns(p, f, r));
  }
  return most;
}

void weigh(const AttentionPlan& p, const Frame& f, std::size_t row, std::size_t keys, float* scores) {
  if (p.mask != no_slot) add_mask(p, f, row, keys, scores);
  softmax_row(scores, scores, keys);
}

void run_few(const AttentionPlan& p, const Frame& f) {
  // How rows are dealt out depends on the number of threads; what comes out does not.
  std::size_t wanted = 3 * thread_count();
  std::size_t each = std::clamp<std::size_t>(p.batch * p.queries / wanted, 1, most_query_rows);
  std::size_t tasks = (p.queries + each - 1) / each;
  parallel_for(p.batch * tasks, 1, [&](std::size_t begin, std::size_t end) {
    std::vector<float> scores;
    for (std::size_t i = begin; i < end; ++i) {
      std::size_t b = i / tasks, first = i % tasks * each, rows = std::min(each, p.queries - first);
      std::size_t row = b * p.queries + first, open = open_columns(p, f, row, rows);
      scores.resize(rows * open);
      query_keys(f.read<float>(p.query) + row * p.width, rows, p.keys_of(f, b), open, p.scale, scores.data(), open);
      for (std::size_t r = 0; r < rows; ++r) weigh(p, f, row + r, open, &scores[r * open]);
      float* y = f.write<float>(p.y) + row * p.out_width;
      sum_values(scores.data(), rows, open, p.values_of(f, b), open, y);
      p.finish(f, row * p.out_width, rows * p.out_width);
    }
  });
}

void attend(const AttentionPlan& p, const Frame& f, std::size_t batch, std::size_t first, std::size_t rows) {
  const float* packed = reinterpret_cast<const float*>(f.scratch()) + batch * (p.key_elements() + p.value_elements());
  std::size_t row = batch * p.queries + first, open = open_columns(p, f, row, rows);
  std::vector<float> scores(rows * open);
  PackedView keys{packed, p.width, open};
  multiply({f.read<float>(p.query) + row * p.width, std::ptrdiff_t(p.width), keys, nullptr, scores.data(),
            std::ptrdiff_t(open), rows},
           0, panel_count(open));
  for (std::size_t r = 0; r < rows; ++r) {
    float* s = &scores[r * open];
    for (std::size_t k = 0; k < open; ++k) s[k] *= p.scale;
    weigh(p, f, row + r, open, s);
  }
  // A panel of the values at a time, as a shorter depth would otherwise move the others.
  for (std::size_t panel = 0; panel < panel_count(p.out_width); ++panel) {
    std::size_t column = panel * panel_columns();
    PackedView values{packed + p.key_elements() + column * p.keys, open,
                      std::min(panel_columns(), p.out_width - column)};
    multiply({scores.data(), std::ptrdiff_t(open), values, nullptr, f.write<float>(p.y) + row * p.out_width + column,
              std::ptrdiff_t(p.out_width), rows},
             0, 1);
  }
  p.finish(f, row * p.out_width, rows * p.out_width);
}

// Rows [first, first + count) as floats: themselves, or in `buffer`.
const float* as_floats(const RowsOf& rows, std::size_t first, std::size_t count, std::vector<float>& buffer) {
  if (!rows.half) return static_cast<const float*>(rows.data) + first * rows.width;
  buffer.resize(count * rows.width);
  halves_to_floats({static_cast<const std::uint16_t*>(rows.data) + first * rows.width, buffer.size()}, buffer.data());
  return buffer.data();
}

// Keys as panels of columns; and as many values, as panels of their elements.
void pack(const AttentionPlan& p, const Frame& f, std::size_t b, std::size_t panel, std::size_t open) {
  std::size_t wide = panel_columns(), first = panel * wide, count = std::min(wide, open - first);
  std::vector<float> buffer;
  float* to = reinterpret_cast<float*>(f.scratch()) + b * (p.key_elements() + p.value_elements());
  float* keys = to + first * p.width;
  const float* from = as_floats(p.keys_of(f, b), first, count, buffer);
  for (std::size_t e = 0; e < p.width; ++e)
    for (std::size_t k = 0; k < wide; ++k) keys[e * wide + k] = k < count ? from[k * p.width + e] : 0;
  from = as_floats(p.values_of(f, b), first, count, buffer);
  for (std::size_t column = 0; column < p.out_width; column += wide) {
    float* values = to + p.key_elements() + column * p.keys + first * wide;
    std::size_t columns = std::min(wide, p.out_width - column);
    for (std::size_t k = 0; k < count; ++k)
      for (std::size_t e = 0; e < wide; ++e)
        values[k * wide + e] = e < columns ? from[k * p.out_width + column + e] : 0;
  }
}

void run_many(const AttentionPlan& p, const Frame& f) {
  std::vector<std::size_t> open(p.batch);
  for (std::size_t b = 0; b < p.batch; ++b) open[b] = open_columns(p, f, b * p.queries, p.queries);
  std::size_t panels = panel_count(p.keys);
  parallel_for(p.batch * panels, 1, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i)
      if (i % panels * panel_columns() < open[i / panels]) pack(p, f, i / panels, i % panels, open[i / panels]);
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
  plan->half_keys = at.is_half(plan->key);
  plan->half_values = at.is_half(plan->value);
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
  if (plan->few()) return {.run = [plan](const Frame& f) { run_few(*plan, f); }, .name = "attention"};
  return {.run = [plan](const Frame& f) { run_many(*plan, f); },
          .scratch_bytes = 4 * plan->batch * (plan->key_elements() + plan->value_elements()),
          .name = "attention"};
}

}  // namespace

std::vector<KernelRule> attention_kernels() {
  constexpr std::uint32_t key_and_value = 1 << 1 | 1 << 2;
  return {kernel<mil::scaled_dot_product_attention, plan_attention>({.finishes = true, .takes_halves = key_and_value})};
}

}  // namespace pomona::cpu
