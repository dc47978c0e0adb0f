#include "rewrite/chain_places.h"

#include <algorithm>

#include "ir/op.h"
#include "ir/walk.h"

namespace pomona::rewrite {
namespace {

// Constants that come along wherever they are wanted have at most so many bytes, and at most this part of all weights';
// and inputs that count as small.
constexpr std::uint64_t small_bytes = 64 << 10, small_share = 64;
constexpr std::int64_t small_input = 4096;
// Nodes that computing a value again may take.
constexpr std::size_t most_again = 64;

// Literals behind a weight that have more bytes than are small.
void add_literals(Value weight, std::uint64_t small, std::map<std::string, std::uint64_t>& found) {
  if (const Weight* literal = weight.literal()) {
    if (literal->stored_size() > small) found[literal->identity()] = literal->stored_size();
    return;
  }
  for (Value input : weight.producer()->inputs()) add_literals(input, small, found);
}
std::uint64_t bytes_of(Value weight) {
  if (const Weight* literal = weight.literal()) return literal->stored_size();
  std::uint64_t bytes = 0;
  for (Value input : weight.producer()->inputs()) bytes += bytes_of(input);
  return bytes;
}

std::uint64_t width_of(Value value) {
  std::uint64_t count = 1;
  // Sizes that are open count as one: they are so in all values that pass.
  for (const Dim& d : value.shape()) count *= d.known() ? std::uint64_t(d.value()) : 1;
  return count * element_size_bytes(value.dtype());
}

}  // namespace

bool can_pass(Value value) {
  if (value.type().kind != Type::Kind::tensor || value.rank() < 1 || value.rank() > 5) return false;
  DType dtype = value.dtype();
  bool numbers = dtype == DType::fp16 || dtype == DType::fp32 || dtype == DType::int32;
  return numbers &&
         std::all_of(value.shape().begin(), value.shape().end(), [](const Dim& d) { return d.known() || d.symbol(); });
}

FunctionLine::FunctionLine(const Function& function) : function_(&function) {
  for (const auto& node : function.body.nodes()) {
    if (node->op->structural || node->op->constexpr_op) continue;
    nodes_.push_back(node.get());
  }
  find_small();
  find_light();
  find_uses();
}

void FunctionLine::find_small() {
  std::uint64_t sum = 0;
  for (const auto& [identity, bytes] : weights(0, nodes_.size())) sum += bytes;
  small_ = std::min(small_bytes, sum / small_share);
}

void FunctionLine::find_light() {
  std::map<Value, std::size_t> effort;
  for (std::size_t i = 0; i < function_->body.input_count(); ++i) {
    Value input = function_->body.input(i);
    std::int64_t count = 1;
    for (const Dim& d : input.shape()) count *= d.known() ? d.value() : 1;
    if (!is_state(input) && input.dtype() == DType::int32 && count <= small_input) effort[input] = 0;
  }
  for (const Node* node : nodes_) {
    if (node->op->random || node->op->side_effects || !node->blocks.empty()) continue;
    std::size_t sum = 1;
    bool light = true;
    for (Value input : node->inputs()) {
      auto at = effort.find(input);
      if (at != effort.end())
        sum += at->second;
      else if (!input.is_weight() || bytes_of(input) > small_)
        light = false;
    }
    if (!light || sum > most_again) continue;
    for (std::size_t i = 0; i < node->output_count(); ++i) {
      effort[node->output(i)] = sum;
      light_.insert(node->output(i));
    }
  }
}

void FunctionLine::find_uses() {
  for (std::size_t place = 0; place < nodes_.size(); ++place)
    for (Value value : operands_of_all(*nodes_[place])) {
      if (is_state(value)) {
        auto [at, fresh] = state_uses_.try_emplace(value, place, place);
        at->second.second = place;
      } else if (value.producer() && !value.is_weight() && !light_.count(value)) {
        last_use_[value] = place;
      }
    }
}

Values FunctionLine::passing(std::size_t place) const {
  Values found;
  for (std::size_t i = 0; i < place; ++i)
    for (std::size_t k = 0; k < nodes_[i]->output_count(); ++k) {
      auto use = last_use_.find(nodes_[i]->output(k));
      if (use != last_use_.end() && use->second >= place) found.push_back(use->first);
    }
  return found;
}

std::map<std::string, FunctionLine::Place> FunctionLine::places() const {
  std::map<std::string, Place> best;
  std::map<Value, bool> open;  // what passes here, and whether it can
  std::set<std::string> seen;
  std::size_t hash = 0;
  for (std::size_t place = 1; place < nodes_.size(); ++place) {
    const Node& node = *nodes_[place - 1];
    for (std::size_t k = 0; k < node.output_count(); ++k)
      if (last_use_.count(node.output(k))) open[node.output(k)] = can_pass(node.output(k));
    std::erase_if(open, [&](const auto& each) { return last_use_.at(each.first) < place; });
    for (const auto& [identity, bytes] : weights(place - 1, place))
      if (seen.insert(identity).second) hash ^= std::hash<std::string>()(identity);
    bool possible = std::all_of(open.begin(), open.end(), [](const auto& each) { return each.second; });
    for (const auto& [state, uses] : state_uses_) possible = possible && (uses.first >= place || uses.second < place);
    if (!possible || seen.empty()) continue;
    Place here{place, 0};
    for (const auto& [value, fine] : open) here.width += width_of(value);
    auto [at, fresh] = best.try_emplace(std::to_string(seen.size()) + " " + std::to_string(hash), here);
    if (!fresh && here.width < at->second.width) at->second = here;
  }
  return best;
}

std::map<std::string, std::uint64_t> FunctionLine::weights(std::size_t begin, std::size_t end) const {
  std::map<std::string, std::uint64_t> found;
  for (std::size_t i = begin; i < end; ++i)
    for (Value value : operands_of_all(*nodes_[i]))
      if (value.is_weight()) add_literals(value, small_, found);
  return found;
}

}  // namespace pomona::rewrite
