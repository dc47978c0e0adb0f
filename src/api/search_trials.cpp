#include "api/search_trials.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "cpu/runner.h"
#include "verify/metrics.h"

namespace pomona::api {
namespace {

constexpr std::int64_t least_elements = 2048;
// A weight's error from which on what it does to the outputs is far above the noise of rounding.
constexpr double telling_error = 1e-3;

// The weight as the scheme would keep it, made anew each time it is asked for: with all schemes at hand, all weights
// would be in memory many times over.
Weight decoded_form(const Node& node, const Weight& plain, const Way& way) {
  Target opset = node.block()->function().opset;
  return Weight::derived({fmt::format("{} of '{}'", way.name, node.output().name()),
                          plain.dtype(),
                          plain.sizes(),
                          {plain},
                          [&node, way, opset](std::span<const Tensor> in) -> Result<Tensor> {
                            auto encoded = POM_TRY(compress::encode_alone(node, Weight(in[0]), *way.scheme));
                            return compress::decode(encoded, opset);
                          }});
}

// Rows along the last axis as distributions: sum of p (log p - log q), a mean over rows.
double divergence(const Tensor& got, const Tensor& expected) {
  std::vector<double> q = got.numbers(), p = expected.numbers();
  std::size_t width = expected.rank() ? std::size_t(expected.sizes().back()) : 1, rows = width ? p.size() / width : 0;
  if (width < 2 || rows == 0) return 0;
  double total = 0;
  for (std::size_t r = 0; r < rows; ++r) {
    auto log_sum = [&](const std::vector<double>& x) {
      auto begin = x.begin() + std::ptrdiff_t(r * width), end = begin + std::ptrdiff_t(width);
      double most = *std::max_element(begin, end), sum = 0;
      for (auto at = begin; at != end; ++at) sum += std::exp(*at - most);
      return most + std::log(sum);
    };
    double of_p = log_sum(p), of_q = log_sum(q);
    for (std::size_t i = r * width; i < (r + 1) * width; ++i)
      total += std::exp(p[i] - of_p) * ((p[i] - of_p) - (q[i] - of_q));
  }
  return total / double(rows);
}

// Squared, relative.
double squared_error(const verify::Metrics& metrics) {
  return std::isinf(metrics.snr_db) ? 0 : std::pow(10, -metrics.snr_db / 10);
}

// The smallest telling error is the best, else the largest.
std::pair<bool, double> fitness_as_probe(const WayOption& option) {
  bool telling = option.weight_error >= telling_error;
  return {!telling, telling ? option.weight_error : -option.weight_error};
}

double cost(const WayOption& option, double price) { return option.error + price * double(option.bytes); }

}  // namespace

Result<std::vector<Way>> ways_for(const std::string& engine) {
  // The Neural Engine takes scales per channel and tables; the GPU blocks, too. On the CPU everything is decoded.
  static const std::vector<std::string> ane{"int8-per-channel", "lut6", "lut4", "lut3", "lut2"},
      gpu{"int8", "int4", "lut6", "lut4", "lut3", "lut2"};
  std::vector<Way> ways;
  for (const std::string& name : engine == "ane" ? ane : gpu) {
    bool per_channel = name == "int8-per-channel";
    ways.push_back(
        {name, per_channel ? "{scheme: linear}" : name, POM_TRY(compress::make_scheme(per_channel ? "linear" : name))});
  }
  return ways;
}

Searcher::Searcher(LanguageSamples samples, bool language, const Progress& progress)
    : function_(*samples.function), samples_(std::move(samples)), language_(language), progress_(progress) {
  samples_.continues.resize(samples_.inputs.size(), false);
}

Status Searcher::prepare(const std::vector<Way>& ways, const std::set<std::string>& left) {
  expected_ = POM_TRY(outputs());
  std::vector<Node*> nodes = compress::compressible_weights(function_, least_elements);
  std::erase_if(nodes, [&](Node* node) { return left.contains(node->output().name()); });
  std::size_t done = 0;
  for (Node* node : nodes) {
    Subject subject{node, node->literal, {{{"none", "none", nullptr}, node->literal, node->literal.stored_size()}}};
    POM_TRY(add_options(subject, ways));
    POM_TRY(measure_options(subject));
    if (subject.options.size() > 1) subjects_.push_back(std::move(subject));
    if (progress_) progress_("measure", double(++done) / double(nodes.size()));
  }
  POM_REQUIRE(!subjects_.empty(), "no weight of the model can be compressed");
  return {};
}

Status Searcher::add_options(Subject& subject, const std::vector<Way>& ways) {
  Tensor plain = POM_TRY(subject.plain.materialise());
  for (const Way& way : ways) {
    auto encoded = compress::encode_alone(*subject.node, subject.plain, *way.scheme);
    if (!encoded) continue;
    WayOption option{way, decoded_form(*subject.node, subject.plain, way)};
    for (const auto& stage : encoded->stages)
      for (const auto& [field, part] : stage.parts) option.bytes += part.weight ? part.weight.stored_size() : 0;
    if (option.bytes >= subject.options[0].bytes) continue;
    Tensor decoded = POM_TRY(compress::decode(*encoded, function_.opset));
    option.weight_error = squared_error(POM_TRY(verify::compare(decoded, plain)));
    subject.options.push_back(std::move(option));
  }
  return {};
}

Status Searcher::measure_options(Subject& subject) {
  const WayOption* probe = &*std::ranges::min_element(subject.options, {}, fitness_as_probe);
  for (WayOption& option : subject.options) {
    if (!option.way.scheme || (language_ && &option != probe)) continue;
    subject.node->literal = option.decoded;
    auto score = measure();
    subject.node->literal = subject.plain;
    option.error = POM_TRY(std::move(score)).error;
  }
  if (!language_ || probe->weight_error == 0) return {};
  for (WayOption& option : subject.options) option.error = probe->error * option.weight_error / probe->weight_error;
  return {};
}

Searcher::Choice Searcher::at_price(double price) const {
  Choice choice;
  for (const Subject& subject : subjects_) {
    std::size_t best = 0;
    for (std::size_t k = 1; k < subject.options.size(); ++k)
      if (cost(subject.options[k], price) < cost(subject.options[best], price)) best = k;
    choice.push_back(best);
  }
  return choice;
}

std::uint64_t Searcher::bytes_of(const Choice& choice) const {
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < choice.size(); ++i) bytes += subjects_[i].options[choice[i]].bytes;
  return bytes;
}

std::size_t Searcher::elements() const {
  std::size_t count = 0;
  for (const Subject& subject : subjects_) count += subject.plain.count();
  return count;
}

Searcher::Choice Searcher::within(std::uint64_t bytes) const {
  double low = 0, high = 1e3;
  for (int round = 0; round < 100; ++round) {
    double middle = low == 0 ? (high < 1e-18 ? 0 : high * 0.25) : std::sqrt(low * high);
    (bytes_of(at_price(middle)) <= bytes ? high : low) = middle;
    if (low > 0 && high / low < 1.0001) break;
    if (middle == 0) break;
  }
  Choice choice = at_price(high);
  fill(choice, bytes);
  return choice;
}

Searcher::Choice Searcher::uniform(const std::string& name) const {
  Choice choice;
  for (const Subject& subject : subjects_) {
    std::size_t found = 0;
    for (std::size_t k = 0; k < subject.options.size(); ++k)
      if (subject.options[k].way.name == name) found = k;
    choice.push_back(found);
  }
  return choice;
}

Result<SearchPoint> Searcher::point(std::string name, const Choice& choice) {
  Score found = POM_TRY(with(choice, [&] { return measure(); }));
  return SearchPoint{std::move(name), bytes_of(choice), found.error, found.cosine, found.kl, {}, false};
}

void Searcher::fill(Choice& choice, std::uint64_t bytes) const {
  for (;;) {
    std::uint64_t used = bytes_of(choice);
    double best = 0;
    std::size_t who = choice.size(), to = 0;
    for (std::size_t i = 0; i < choice.size(); ++i)
      for (std::size_t k = 0; k < subjects_[i].options.size(); ++k) {
        const WayOption &now = subjects_[i].options[choice[i]], &other = subjects_[i].options[k];
        double gain = now.error - other.error;
        if (gain <= 0 || used - now.bytes + other.bytes > bytes) continue;
        double worth = other.bytes > now.bytes ? gain / double(other.bytes - now.bytes) : 1e30;
        if (worth > best) best = worth, who = i, to = k;
      }
    if (who == choice.size()) return;
    choice[who] = to;
  }
}

Result<std::vector<Tensors>> Searcher::outputs() {
  std::vector<Tensors> all;
  cpu::Runner runner(function_, {});
  for (std::size_t s = 0; s < samples_.inputs.size(); ++s) {
    if (!samples_.continues[s]) runner.reset_states();
    ++runs_;
    all.push_back(POM_TRY(runner.run(samples_.inputs[s])));
  }
  return all;
}

Result<Searcher::Score> Searcher::measure() {
  Score score;
  double count = 0;
  std::vector<Tensors> all = POM_TRY(outputs());
  for (std::size_t s = 0; s < all.size(); ++s)
    for (std::size_t i = 0; i < all[s].size(); ++i) {
      const Tensor& got = all[s][i];
      if (got.is_dictionary() || got.is_list() || !is_float(got.dtype()) || got.count() == 0) continue;
      // New rows of caches are results, too.
      if (language_ && function_.body.results()[i].name() != "logits") continue;
      verify::Metrics metrics = POM_TRY(verify::compare(got, expected_[s][i]));
      score.error += squared_error(metrics);
      score.cosine = std::min(score.cosine, metrics.cosine);
      score.kl += divergence(got, expected_[s][i]);
      count += 1;
    }
  POM_REQUIRE(count > 0, "the model has no numeric output");
  score.kl /= count;
  score.error = language_ ? score.kl : score.error / count;
  return score;
}

}  // namespace pomona::api
