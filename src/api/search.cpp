#include "api/search.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <sstream>

#include "api/byte_count.h"
#include "api/calibration.h"
#include "api/files.h"
#include "cpu/runner.h"
#include "formats/mlpackage/package.h"
#include "verify/metrics.h"

namespace pomona::api {
namespace {

struct Score {
  double error = 0, cosine = 1, kl = 0;
};

// A scheme that is tried for each weight.
struct Way {
  std::string name;    // "none": as it is
  std::string config;  // as a configuration says it
  std::shared_ptr<const compress::Scheme> scheme;
};

// One weight stored in one way.
struct Option {
  Way way;
  Weight decoded;
  std::uint64_t bytes = 0;
  double error = 0;
};
struct Subject {
  Node* node;
  Weight plain;
  std::vector<Option> options;  // options[0] leaves it
};

Result<std::vector<Way>> ways_for(const std::string& engine) {
  // The Neural Engine takes scales per channel and tables; the GPU blocks, too. On the CPU everything is decoded.
  static const std::vector<std::string> ane{"int8-per-channel", "lut6", "lut4", "lut3", "lut2"},
      gpu{"int8", "int4", "lut6", "lut4", "lut3", "lut2"};
  std::vector<Way> ways;
  for (const std::string& name : engine == "ane" ? ane : gpu) {
    bool per_channel = name == "int8-per-channel";
    ways.push_back({name, per_channel ? "{scheme: linear}" : name,
                    POM_TRY(compress::make_scheme(per_channel ? "linear" : name))});
  }
  return ways;
}

// The weight as the scheme would keep it, made anew each time it is asked for: with all schemes at hand, all weights
// would be in memory many times over.
Weight decoded_form(const Node& node, const Weight& plain, const Way& way) {
  Target opset = node.block()->function().opset;
  return Weight::derived({fmt::format("{} of '{}'", way.name, node.output().name()), plain.dtype(), plain.sizes(),
                          {plain}, [&node, way, opset](std::span<const Tensor> in) -> Result<Tensor> {
                            return compress::decode(POM_TRY(compress::encode_alone(node, Weight(in[0]), *way.scheme)), opset);
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
      double most =
          *std::max_element(x.begin() + std::ptrdiff_t(r * width), x.begin() + std::ptrdiff_t((r + 1) * width));
      double sum = 0;
      for (std::size_t i = r * width; i < (r + 1) * width; ++i) sum += std::exp(x[i] - most);
      return most + std::log(sum);
    };
    double of_p = log_sum(p), of_q = log_sum(q);
    for (std::size_t i = r * width; i < (r + 1) * width; ++i)
      total += std::exp(p[i] - of_p) * ((p[i] - of_p) - (q[i] - of_q));
  }
  return total / double(rows);
}

class Searcher {
 public:
  Searcher(Program& program, std::vector<NamedTensors> samples, const Progress& progress)
      : function_(program.main()), samples_(std::move(samples)), progress_(progress) {}

  Status prepare(const std::vector<Way>& ways) {
    for (const NamedTensors& sample : samples_) expected_.push_back(POM_TRY(run(sample)));
    std::vector<Node*> nodes = compress::compressible_weights(function_, 2048);
    std::size_t done = 0;
    for (Node* node : nodes) {
      Subject subject{node, node->literal, {{{"none", "none", nullptr}, node->literal, node->literal.stored_size()}}};
      for (const Way& way : ways) {
        auto encoded = compress::encode_alone(*node, subject.plain, *way.scheme);
        if (!encoded) continue;
        Option option{way, decoded_form(*node, subject.plain, way)};
        for (const auto& stage : encoded->stages)
          for (const auto& [field, part] : stage.parts) option.bytes += part.weight ? part.weight.stored_size() : 0;
        if (option.bytes >= subject.options[0].bytes) continue;
        node->literal = Weight(POM_TRY(compress::decode(*encoded, function_.opset)));
        option.error = POM_TRY(measure()).error;
        node->literal = subject.plain;
        subject.options.push_back(std::move(option));
      }
      if (subject.options.size() > 1) subjects_.push_back(std::move(subject));
      if (progress_) progress_("measure", double(++done) / double(nodes.size()));
    }
    POM_REQUIRE(!subjects_.empty(), "no weight of the model can be compressed");
    return {};
  }

  // The choice for a price per byte.
  std::vector<std::size_t> at_price(double price) const {
    std::vector<std::size_t> choice;
    for (const Subject& subject : subjects_) {
      std::size_t best = 0;
      for (std::size_t k = 1; k < subject.options.size(); ++k)
        if (cost(subject.options[k], price) < cost(subject.options[best], price)) best = k;
      choice.push_back(best);
    }
    return choice;
  }
  std::uint64_t bytes_of(const std::vector<std::size_t>& choice) const {
    std::uint64_t bytes = 0;
    for (std::size_t i = 0; i < choice.size(); ++i) bytes += subjects_[i].options[choice[i]].bytes;
    return bytes;
  }
  std::size_t elements() const {
    std::size_t count = 0;
    for (const Subject& subject : subjects_) count += subject.plain.count();
    return count;
  }
  // The cheapest price at which the choice fits, then what still fits is stored better.
  std::vector<std::size_t> within(std::uint64_t bytes) const {
    double low = 0, high = 1e3;
    for (int round = 0; round < 100; ++round) {
      double middle = low == 0 ? (high < 1e-18 ? 0 : high * 0.25) : std::sqrt(low * high);
      (bytes_of(at_price(middle)) <= bytes ? high : low) = middle;
      if (low > 0 && high / low < 1.0001) break;
      if (middle == 0) break;
    }
    std::vector<std::size_t> choice = at_price(high);
    fill(choice, bytes);
    return choice;
  }

  // The weights as the choice makes them, while `work` runs.
  template <class Work>
  auto with(const std::vector<std::size_t>& choice, Work work) {
    for (std::size_t i = 0; i < choice.size(); ++i)
      subjects_[i].node->literal = subjects_[i].options[choice[i]].decoded;
    auto done = work();
    for (Subject& subject : subjects_) subject.node->literal = subject.plain;
    return done;
  }

  Result<SearchPoint> point(std::string name, const std::vector<std::size_t>& choice) {
    Score found = POM_TRY(with(choice, [&] { return measure(); }));
    return SearchPoint{std::move(name), bytes_of(choice), found.error, found.cosine, found.kl, {}, false};
  }
  // Each weight by the scheme, or as it is where it does not take it.
  std::vector<std::size_t> uniform(const std::string& scheme) const {
    std::vector<std::size_t> choice;
    for (const Subject& subject : subjects_) {
      std::size_t found = 0;
      for (std::size_t k = 0; k < subject.options.size(); ++k)
        if (subject.options[k].way.name == scheme) found = k;
      choice.push_back(found);
    }
    return choice;
  }
  const std::vector<Subject>& subjects() const { return subjects_; }
  std::size_t runs() const { return runs_; }

 private:
  static double cost(const Option& option, double price) { return option.error + price * double(option.bytes); }

  void fill(std::vector<std::size_t>& choice, std::uint64_t bytes) const {
    for (;;) {
      std::uint64_t used = bytes_of(choice);
      double best = 0;
      std::size_t who = choice.size(), to = 0;
      for (std::size_t i = 0; i < choice.size(); ++i)
        for (std::size_t k = 0; k < subjects_[i].options.size(); ++k) {
          const Option &now = subjects_[i].options[choice[i]], &other = subjects_[i].options[k];
          double gain = now.error - other.error;
          if (gain <= 0 || used - now.bytes + other.bytes > bytes) continue;
          double worth = other.bytes > now.bytes ? gain / double(other.bytes - now.bytes) : 1e30;
          if (worth > best) best = worth, who = i, to = k;
        }
      if (who == choice.size()) return;
      choice[who] = to;
    }
  }

  Result<Tensors> run(const NamedTensors& sample) {
    ++runs_;
    cpu::Runner runner(function_, {});
    return runner.run(sample);
  }

  Result<Score> measure() {
    Score score;
    double count = 0;
    cpu::Runner runner(function_, {});
    for (std::size_t s = 0; s < samples_.size(); ++s) {
      runner.reset_states();
      ++runs_;
      Tensors got = POM_TRY(runner.run(samples_[s]));
      for (std::size_t i = 0; i < got.size(); ++i) {
        if (got[i].is_dictionary() || got[i].is_list() || !is_float(got[i].dtype()) || got[i].count() == 0) continue;
        verify::Metrics metrics = POM_TRY(verify::compare(got[i], expected_[s][i]));
        score.error += std::isinf(metrics.snr_db) ? 0 : std::pow(10, -metrics.snr_db / 10);
        score.cosine = std::min(score.cosine, metrics.cosine);
        score.kl += divergence(got[i], expected_[s][i]);
        count += 1;
      }
    }
    POM_REQUIRE(count > 0, "the model has no numeric output");
    score.error /= count;
    score.kl /= count;
    return score;
  }

  Function& function_;
  std::vector<NamedTensors> samples_;
  std::vector<Tensors> expected_;
  std::vector<Subject> subjects_;
  const Progress& progress_;
  std::size_t runs_ = 0;
};

std::string recipe_text(const Searcher& searcher, const std::vector<std::size_t>& choice, const SearchPoint& result) {
  std::string text = fmt::format("# Chosen by measuring: error {:.3g}, cosine {:.6f}, {} bytes of weights.\nnames:\n",
                                 result.error, result.cosine, result.bytes);
  for (std::size_t i = 0; i < choice.size(); ++i)
    text += fmt::format("  \"{}\": {}\n", searcher.subjects()[i].node->output().name(),
                        searcher.subjects()[i].options[choice[i]].way.config);
  return text;
}

// Size across, error upwards in decades; a dot for each scheme used for all weights, a line for mixtures.
std::string plot_text(const std::vector<SearchPoint>& points, const SearchPoint& result) {
  constexpr double width = 640, height = 400, margin = 60;
  double most_bytes = 1, least = 1e30, most = 1e-30;
  for (const SearchPoint& point : points) {
    most_bytes = std::max(most_bytes, double(point.bytes));
    least = std::min(least, std::max(point.error, 1e-12));
    most = std::max(most, std::max(point.error, 1e-12));
  }
  double low = std::floor(std::log10(least)), high = std::max(low + 1, std::ceil(std::log10(most)));
  auto x = [&](const SearchPoint& p) { return margin + double(p.bytes) / most_bytes * (width - 2 * margin); };
  auto y = [&](const SearchPoint& p) {
    return height - margin - (std::log10(std::max(p.error, 1e-12)) - low) / (high - low) * (height - 2 * margin);
  };
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" font-family=\"sans-serif\" "
      "font-size=\"11\">\n<rect width=\"{0}\" height=\"{1}\" fill=\"white\"/>\n<text x=\"{2}\" y=\"{3}\">weights, "
      "0 to {4}</text>\n<text x=\"8\" y=\"20\">error of the outputs, 1e{5:.0f} to 1e{6:.0f}</text>\n<path "
      "d=\"M{7} {7} V{8} H{9}\" fill=\"none\" stroke=\"gray\"/>\n",
      width, height, width / 2 - 60, height - 15, size_text(std::uint64_t(most_bytes)), low, high, margin,
      height - margin, width - margin);
  std::string line;
  for (const SearchPoint& point : points)
    if (point.mixed) line += fmt::format("{}{:.1f} {:.1f} ", line.empty() ? "M" : "L", x(point), y(point));
  svg += fmt::format("<path d=\"{}\" fill=\"none\" stroke=\"steelblue\"/>\n", line);
  for (const SearchPoint& point : points)
    if (!point.mixed)
      svg += fmt::format(
          "<circle cx=\"{0:.1f}\" cy=\"{1:.1f}\" r=\"3\" fill=\"darkorange\"/>\n<text x=\"{2:.1f}\" "
          "y=\"{1:.1f}\">{3}</text>\n",
          x(point), y(point), x(point) + 6, point.name);
  svg += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"5\" fill=\"none\" stroke=\"crimson\"/>\n</svg>\n",
                     x(result), y(result));
  return svg;
}

// The user's own measure: the last number that the command prints.
Result<double> run_metric(const std::string& command, const std::string& package) {
  std::string quoted = "'" + package + "'", line = command;
  if (std::size_t at = line.find("{}"); at != line.npos)
    line.replace(at, 2, quoted);
  else
    line += " " + quoted;
  std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(line.c_str(), "r"), pclose);
  POM_REQUIRE(pipe, "'{}' cannot be run", line);
  std::string text;
  char buffer[4096];
  while (std::size_t got = std::fread(buffer, 1, sizeof buffer, pipe.get())) text.append(buffer, got);
  int status = pclose(pipe.release());
  POM_REQUIRE(status == 0, "'{}' ended with status {}", line, status);
  std::optional<double> last;
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    char* end = nullptr;
    double number = std::strtod(word.c_str(), &end);
    if (end != word.c_str() && *end == 0) last = number;
  }
  POM_REQUIRE(last, "'{}' printed no number", line);
  return *last;
}

struct Goal {
  std::optional<std::uint64_t> bytes;
  std::optional<double> cosine, kl, metric;  // metric: the least
  bool met(const SearchPoint& point) const {
    return (!bytes || point.bytes <= *bytes) && (!cosine || point.cosine >= *cosine) && (!kl || point.kl <= *kl) &&
           (!metric || (point.metric && *point.metric >= *metric));
  }
  // Within the goal: for a size the smaller error, else the smaller size.
  bool better(const SearchPoint& a, const SearchPoint& b) const {
    if (met(a) != met(b)) return met(a);
    return bytes ? a.error < b.error : a.bytes < b.bytes;
  }
};

}  // namespace

Result<SearchReport> search(const std::string& input, const std::string& recipe, const std::string& engine,
                            const SearchOptions& options, const Progress& progress) {
  Stopwatch watch;
  int goals = int(!options.max_size->empty()) + int(options.bits_per_weight->has_value()) +
              int(options.min_cosine->has_value()) + int(options.max_kl->has_value()) +
              int(options.max_drop->has_value());
  POM_REQUIRE(goals == 1, "one goal is needed: --max-size, --bits-per-weight, --min-cosine, --max-kl or --max-drop");
  POM_REQUIRE(options.max_drop->has_value() == !options.metric->empty(), "--max-drop and --metric go together");
  POM_REQUIRE(engine.empty() || engine == "ane" || engine == "gpu" || engine == "cpu",
              "--for is ane, gpu or cpu, not '{}'", engine);
  POM_TRY(check_output(recipe, options.force));
  SearchReport report;
  report.recipe = recipe;
  report.plot = options.plot->empty() ? recipe.substr(0, recipe.find_last_of('.')) + ".svg" : *options.plot;
  POM_TRY(check_output(report.plot, options.force));
  Model model = POM_TRY(open_model(input));
  POM_REQUIRE(is_core_ml(model), "'{}' is {}: convert it first", input, model.format);
  auto samples = POM_TRY(calibration_samples({options.calibrate, options.tokenizer, options.samples, options.seed},
                                             model.program, model.program.main()));
  Searcher searcher(model.program, std::move(samples), progress);
  std::vector<Way> ways = POM_TRY(ways_for(engine));
  POM_TRY(searcher.prepare(ways));
  Goal goal{{}, options.min_cosine, options.max_kl, {}};
  if (options.max_drop->has_value())
    goal.metric = POM_TRY_IN(run_metric(options.metric, input), "of the input") - **options.max_drop;
  if (!options.max_size->empty()) goal.bytes = POM_TRY(bytes_in(options.max_size));
  if (options.bits_per_weight->has_value())
    goal.bytes = std::uint64_t(**options.bits_per_weight * double(searcher.elements()) / 8);

  std::vector<std::vector<std::size_t>> choices;
  auto add = [&](std::string name, std::vector<std::size_t> choice, bool mixed) -> Status {
    report.points.push_back(POM_TRY(searcher.point(std::move(name), choice)));
    report.points.back().mixed = mixed;
    choices.push_back(std::move(choice));
    return {};
  };
  for (const Way& way : ways) POM_TRY(add(way.name, searcher.uniform(way.name), false));
  std::uint64_t least = searcher.bytes_of(searcher.at_price(1e3)), most = searcher.bytes_of(searcher.uniform("none"));
  for (int k = 0; k <= 10; ++k)
    POM_TRY(add("mixed", searcher.within(least + (most - least) * std::uint64_t(k) / 10), true));
  if (goal.bytes) {
    POM_TRY(add("mixed", searcher.within(*goal.bytes), true));
  } else {
    // Sizes are halved between the largest that fails and the smallest that passes.
    std::uint64_t low = least, high = most;
    TemporaryFolder folder = POM_TRY(TemporaryFolder::make());
    for (int round = 0; round < 10; ++round) {
      std::uint64_t middle = low + (high - low) / 2;
      POM_TRY(add("mixed", searcher.within(middle), true));
      if (goal.metric) {
        std::string package = fmt::format("{}/{}.mlpackage", folder.path(), round);
        POM_TRY(searcher.with(choices.back(), [&] { return mlpackage::write_package(model.program, package, {}); }));
        report.points.back().metric = POM_TRY(run_metric(options.metric, package));
      }
      (goal.met(report.points.back()) ? high : low) = middle;
    }
  }
  std::size_t best = 0;
  for (std::size_t i = 1; i < report.points.size(); ++i)
    if (goal.better(report.points[i], report.points[best])) best = i;
  report.result = report.points[best];
  report.reached = goal.met(report.result);
  for (std::size_t i = 0; i < choices[best].size(); ++i) {
    const Option& option = searcher.subjects()[i].options[choices[best][i]];
    report.chosen.push_back({searcher.subjects()[i].node->output().name(), option.way.name, option.bytes, option.error});
  }
  std::ranges::stable_sort(report.points, {}, &SearchPoint::bytes);
  if (report.reached) {
    POM_TRY(write_whole_file(recipe, recipe_text(searcher, choices[best], report.result), options.force));
    POM_TRY(write_whole_file(report.plot, plot_text(report.points, report.result), options.force));
  }
  report.runs = searcher.runs();
  report.seconds = watch.seconds();
  return report;
}

}  // namespace pomona::api
