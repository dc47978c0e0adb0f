#include "cpu/parted_attention.h"

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "base/half.h"
#include "base/threads.h"
#include "cpu/attention_rows.h"
#include "cpu/row_kernels.h"
#include "ops/activation.h"
#include "ops/attention.h"
#include "ops/elementwise_binary.h"
#include "ops/elementwise_unary.h"
#include "ops/linear.h"
#include "ops/shape.h"
#include "ops/tensor_operation.h"

namespace pomona::cpu {
namespace {

// More queries are worth packing keys and values for.
constexpr std::int64_t most_queries = 16;
// An added mask of this closes a column: its weight would be exp(-9900), which is 0.
constexpr float closed_by_addition = -9900;

Sizes sizes_of(const Operand& operand) { return known_sizes(operand.type->shape); }

class Finder {
 public:
  Finder(const std::vector<PlannedNode>& nodes, const Values& results)
      : nodes_(nodes), results_(results.begin(), results.end()) {
    for (std::size_t i = 0; i < nodes.size(); ++i) place_[nodes[i].node] = i;
  }
  PartedAttentions run() {
    for (const PlannedNode& node : nodes_) {
      inside_.clear();
      PartedAttention a;
      bool matches = is<mil::add>(node.node)                            ? written_out(node, a)
                     : is<mil::scaled_dot_product_attention>(node.node) ? fused(node, a)
                                                                        : false;
      if (!matches || !fits(a)) continue;
      found_.found.emplace(node.node, a);
      found_.nothing.insert(inside_.begin(), inside_.end());
    }
    return std::move(found_);
  }

 private:
  // The node that makes an operand, if it is of this op and of the segment, and the operand has `users` users.
  template <class Op>
  const PlannedNode* maker(const Operand& operand, std::size_t users = 1) {
    const Node* node = operand.value.producer();
    if (!node || !is<Op>(node) || !place_.count(node) || results_.count(operand.value)) return nullptr;
    if (operand.value.users().size() != users) return nullptr;
    return &nodes_[place_.at(node)];
  }
  template <class Op>
  static Op op_of(const PlannedNode& planned) {
    return detail::view_of<Op>(*planned.node->op, planned.node->attributes, planned.operands);
  }

  bool written_out(const PlannedNode& root, PartedAttention& a) {
    const PlannedNode *shares = nullptr, *product[2] = {}, *slice[2] = {};
    for (int part = 0; part < 2; ++part) {
      product[part] = maker<mil::matmul>(root.operands[std::size_t(part)][0]);
      if (!product[part]) return false;
      auto op = op_of<mil::matmul>(*product[part]);
      slice[part] = maker<mil::slice_by_index>(product[part]->operands[0][0]);
      if (!slice[part] || op.transpose_x || op.transpose_y) return false;
      const PlannedNode* from = maker<mil::softmax>(slice[part]->operands[0][0], 2);
      if (!from || (shares && from != shares)) return false;
      shares = from;
      a.values[part] = product[part]->operands[1][0];
    }
    std::int64_t columns = shares->results[0].shape.back().value();
    for (int part = 0; part < 2; ++part) {
      // Either product may come first.
      bool first = begins(*slice[part], 0), last = begins(*slice[part], columns - sizes_of(a.values[part])[2]);
      if (part == 0 && !first && last) {
        std::swap(a.values[0], a.values[1]);
        std::swap(slice[0], slice[1]);
        first = begins(*slice[0], 0);
      }
      if (part == 0 ? !first : !begins(*slice[1], columns - sizes_of(a.values[1])[2])) return false;
    }
    auto softmax = op_of<mil::softmax>(*shares);
    if (softmax.axis != -1 && softmax.axis != 3) return false;
    for (const PlannedNode* each : {product[0], product[1], slice[0], slice[1], shares}) inside_.push_back(each->node);
    return scores(shares->operands[0][0], a);
  }

  // Whether a slice of rank 4 takes the last axis from `first` on, and all of the others.
  static bool begins(const PlannedNode& slice, std::int64_t first) {
    auto op = op_of<mil::slice_by_index>(slice);
    const Tensor* begin = op.begin.known();
    Sizes from = known_sizes(op.x.shape()), to = known_sizes(slice.results[0].shape);
    if (from.size() != 4 || to.size() != 4 || !std::equal(to.begin(), to.end() - 1, from.begin())) return false;
    bool strided = std::any_of(op.stride->begin(), op.stride->end(), [](std::int64_t s) { return s != 1; });
    if (strided || !begin || begin->count() != 4) return false;
    bool open = op.begin_mask->size() == 4 && (*op.begin_mask)[3] != 0;
    return (open ? 0 : begin->integers()[3]) == first;
  }

  // concat(q K0^T, q K1^T), perhaps capped, plus a mask.
  bool scores(const Operand& masked, PartedAttention& a) {
    const PlannedNode* sum = maker<mil::add>(masked);
    if (!sum) return false;
    for (std::size_t side = 0; side < 2; ++side) {
      auto kept = inside_;
      a.mask = sum->operands[1 - side][0];
      if (both_products(sum->operands[side][0], a)) return inside_.push_back(sum->node), true;
      inside_ = kept;
    }
    return false;
  }
  std::optional<float> factor(const PlannedNode& product) {
    const Tensor* number = product.operands[1][0].tensor;
    if (!number || number->count() != 1 || !is_float(number->dtype())) return {};
    return float(number->number(0));
  }
  bool both_products(Operand from, PartedAttention& a) {
    if (const PlannedNode* outer = maker<mil::mul>(from)) {
      const PlannedNode* bend = maker<mil::tanh>(outer->operands[0][0]);
      const PlannedNode* inner = bend ? maker<mil::mul>(bend->operands[0][0]) : nullptr;
      auto cap = factor(*outer), cap_in = inner ? factor(*inner) : std::nullopt;
      if (!cap || !cap_in) return false;
      a.cap = *cap;
      a.cap_in = *cap_in;
      for (const PlannedNode* each : {outer, bend, inner}) inside_.push_back(each->node);
      from = inner->operands[0][0];
    }
    const PlannedNode* joined = maker<mil::concat>(from);
    if (!joined || joined->operands[0].size() != 2 || !along(*joined, 3)) return false;
    inside_.push_back(joined->node);
    for (std::size_t part = 0; part < 2; ++part) {
      const PlannedNode* product = maker<mil::matmul>(joined->operands[0][part]);
      if (!product) return false;
      auto op = op_of<mil::matmul>(*product);
      if (op.transpose_x || !op.transpose_y || (part && !(product->operands[0][0].value == a.query.value)))
        return false;
      a.query = product->operands[0][0];
      a.keys[part] = product->operands[1][0];
      inside_.push_back(product->node);
    }
    return true;
  }
  static bool along(const PlannedNode& joined, std::int64_t axis) {
    auto op = op_of<mil::concat>(joined);
    return !op.interleave && normal_axis(op.axis, joined.results[0].shape.size()) == std::size_t(axis);
  }

  bool fused(const PlannedNode& root, PartedAttention& a) {
    a.query = root.operands[0][0];
    for (std::size_t field : {1u, 2u}) {
      const PlannedNode* joined = maker<mil::concat>(root.operands[field][0]);
      if (!joined || joined->operands[0].size() != 2 || !along(*joined, 2)) return false;
      for (std::size_t part = 0; part < 2; ++part) (field == 1 ? a.keys : a.values)[part] = joined->operands[0][part];
      inside_.push_back(joined->node);
    }
    if (root.operands[3].empty()) return false;
    a.mask = root.operands[3][0];
    a.scale = float(1 / std::sqrt(double(sizes_of(a.query).back())));
    return true;
  }

  // Rank 4 throughout, few queries, matrices of a batch side by side; a mask whose rows lie together.
  static bool fits(const PartedAttention& a) {
    Sizes q = sizes_of(a.query), mask = sizes_of(a.mask);
    if (q.size() != 4 || mask.size() != 4 || q[2] > most_queries || element_count(q) == 0) return false;
    std::int64_t columns = 0;
    for (int part = 0; part < 2; ++part) {
      Sizes k = sizes_of(a.keys[part]), v = sizes_of(a.values[part]);
      if (k.size() != 4 || v.size() != 4 || k[2] != v[2] || k[3] != q[3] || v[3] != sizes_of(a.values[0])[3])
        return false;
      for (std::size_t d : {0u, 1u})
        if (k[d] != q[d] || v[d] != q[d]) return false;
      columns += k[2];
    }
    for (std::size_t d : {0u, 1u, 2u})
      if (mask[d] != 1 && mask[d] != q[d]) return false;
    DType dtype = a.mask.type->dtype;
    return mask[3] == columns && (is_float(dtype) || dtype == DType::boolean);
  }

  const std::vector<PlannedNode>& nodes_;
  std::set<Value> results_;
  std::unordered_map<const Node*, std::size_t> place_;
  std::vector<const Node*> inside_;
  PartedAttentions found_;
};

class PartedKernel {
 public:
  PartedKernel(const PartedAttention& a, const PartedAttentionSlots& slots)
      : slots_(slots), scale_(a.scale), cap_in_(a.cap_in), cap_(a.cap) {
    Sizes q = sizes_of(a.query), mask = sizes_of(a.mask), strides = strides_of(mask);
    heads_ = std::size_t(q[0] * q[1]);
    queries_ = std::size_t(q[2]);
    width_ = std::size_t(q[3]);
    out_width_ = std::size_t(sizes_of(a.values[0])[3]);
    for (std::size_t part : {0u, 1u}) keys_[part] = std::size_t(sizes_of(a.keys[part])[2]);
    bool_mask_ = a.mask.type->dtype == DType::boolean;
    inner_ = std::size_t(q[1]);
    for (std::size_t d : {0u, 1u, 2u}) mask_strides_[d] = mask[d] == 1 ? 0 : std::size_t(strides[d]);
  }

  void operator()(const Frame& f) const {
    std::size_t each = std::clamp<std::size_t>(heads_ * queries_ / (3 * thread_count()), 1, most_query_rows);
    std::size_t tasks = (queries_ + each - 1) / each;
    parallel_for(heads_ * tasks, 1, [&](std::size_t begin, std::size_t end) {
      std::vector<float> scores, other;
      for (std::size_t i = begin; i < end; ++i) {
        std::size_t first = i % tasks * each;
        attend(f, i / tasks, first, std::min(each, queries_ - first), scores, other);
      }
    });
  }

 private:
  std::size_t mask_row(std::size_t head, std::size_t query) const {
    return head / inner_ * mask_strides_[0] + head % inner_ * mask_strides_[1] + query * mask_strides_[2];
  }
  bool closed(const Frame& f, std::size_t at) const {
    return bool_mask_ ? f.read<std::uint8_t>(slots_.mask)[at] == 0
                      : f.read<float>(slots_.mask)[at] <= closed_by_addition;
  }
  // Columns of the cache up to the last one that a query of this head sees; all, should one see none whatever. The same
  // for all queries, so that it does not matter who computes which.
  std::size_t open_columns(const Frame& f, std::size_t head) const {
    std::size_t most = 0;
    for (std::size_t query = 0; query < queries_; ++query) {
      std::size_t at = mask_row(head, query), open = last_open(f, at, most, keys_[0]);
      if (open == 0 && last_open(f, at + keys_[0], 0, keys_[1]) == 0) return keys_[0];
      most = std::max(most, open);
    }
    return most;
  }
  // One more than the last open column of [least, count) of a row of the mask; `least` when there is none.
  std::size_t last_open(const Frame& f, std::size_t at, std::size_t least, std::size_t count) const {
    constexpr std::size_t together = 16;
    while (!bool_mask_ && count >= least + together) {
      const float* mask = f.read<float>(slots_.mask) + at + count - together;
      int open = 0;
      for (std::size_t k = 0; k < together; ++k) open |= mask[k] > closed_by_addition;
      if (open) break;
      count -= together;
    }
    while (count > least && closed(f, at + count - 1)) --count;
    return count;
  }
  RowsOf rows_of(const Frame& f, SlotNumber slot, bool half, std::size_t head, std::size_t rows,
                 std::size_t width) const {
    return {f.read<std::uint8_t>(slot) + head * rows * width * (half ? 2 : 4), half, width};
  }
  void weigh(const Frame& f, std::size_t mask, std::size_t open, float* scores) const {
    std::size_t count = open + keys_[1];
    for (std::size_t k = 0; k < count; ++k) {
      if (cap_ != 0) scores[k] = cap_ * std::tanh(cap_in_ * scores[k]);
      std::size_t at = mask + (k < open ? k : keys_[0] + k - open);
      if (!bool_mask_)
        scores[k] += f.read<float>(slots_.mask)[at];
      else if (!f.read<std::uint8_t>(slots_.mask)[at])
        scores[k] = -INFINITY;
    }
    softmax_row(scores, scores, count);
  }
  void attend(const Frame& f, std::size_t head, std::size_t first, std::size_t rows, std::vector<float>& scores,
              std::vector<float>& other) const {
    const std::size_t open[2] = {open_columns(f, head), keys_[1]}, count = open[0] + open[1];
    const float* query = f.read<float>(slots_.query) + (head * queries_ + first) * width_;
    float* y = f.write<float>(slots_.y) + (head * queries_ + first) * out_width_;
    scores.resize(rows * count);
    other.resize(rows * out_width_);
    for (std::size_t part : {0u, 1u})
      query_keys(query, rows, rows_of(f, slots_.keys[part], slots_.half_keys[part], head, keys_[part], width_),
                 open[part], scale_, scores.data() + part * open[0], count);
    for (std::size_t r = 0; r < rows; ++r) weigh(f, mask_row(head, first + r), open[0], &scores[r * count]);
    for (std::size_t part : {0u, 1u})
      sum_values(scores.data() + part * open[0], rows, count,
                 rows_of(f, slots_.values[part], slots_.half_values[part], head, keys_[part], out_width_), open[part],
                 part ? other.data() : y);
    for (std::size_t i = 0; i < other.size(); ++i) y[i] += other[i];
    if (slots_.rounds) round_to_half({y, other.size()});
  }

  PartedAttentionSlots slots_;
  float scale_, cap_in_, cap_;
  std::size_t heads_, inner_, queries_, width_, out_width_, keys_[2], mask_strides_[3];
  bool bool_mask_;
};

}  // namespace

PartedAttentions find_parted_attention(const std::vector<PlannedNode>& nodes, const Values& results) {
  return Finder(nodes, results).run();
}

Kernel parted_attention_kernel(const PartedAttention& attention, const PartedAttentionSlots& slots) {
  return {.run = [kernel = PartedKernel(attention, slots)](const Frame& f) { kernel(f); }, .name = "attention"};
}

}  // namespace pomona::cpu
