#include "api/search.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <sstream>

#include "api/byte_count.h"
#include "api/files.h"
#include "api/language.h"
#include "api/search_trials.h"
#include "formats/mlpackage/package.h"
#include "llm/language_model.h"
#include "llm/rope.h"

namespace pomona::api {
namespace {

std::string recipe_text(const Searcher& searcher, const Searcher::Choice& choice, const SearchPoint& result) {
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

// Whether the samples are pieces of a text that a language model reads.
bool reads_text(const Program& program, const SearchOptions& options) {
  return llm::is_language_model(program) && options.calibrate->ends_with(".txt");
}

// A language model gives the logits of every token for this, unless packages of it are written for a metric.
Result<Model> open_for_search(const std::string& input, const SearchOptions& options) {
  Model model = POM_TRY(open_model(input));
  POM_REQUIRE(is_core_ml(model), "'{}' is {}: convert it first", input, model.format);
  if (!reads_text(model.program, options) || !options.metric->empty()) return model;
  return with_all_logits(std::move(model), input);
}

Result<LanguageSamples> samples_of(Program& program, const SearchOptions& options) {
  SampleChoice choice{options.calibrate, options.tokenizer, options.samples, options.seed};
  if (reads_text(program, options)) return language_samples(choice, program);
  Function& main = program.main();
  return LanguageSamples{&main, POM_TRY(calibration_samples(choice, program, main)), {}};
}

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
  Model model = POM_TRY(open_for_search(input, options));
  bool language = reads_text(model.program, options);
  Searcher searcher(POM_TRY(samples_of(model.program, options)), language, progress);
  std::vector<Way> ways = POM_TRY(ways_for(engine));
  POM_TRY(searcher.prepare(ways, llm::rope_table_names(model.program)));
  Goal goal{{}, options.min_cosine, options.max_kl, {}};
  if (options.max_drop->has_value())
    goal.metric = POM_TRY_IN(run_metric(options.metric, input), "of the input") - **options.max_drop;
  if (!options.max_size->empty()) goal.bytes = POM_TRY(bytes_in(options.max_size));
  if (options.bits_per_weight->has_value())
    goal.bytes = std::uint64_t(**options.bits_per_weight * double(searcher.elements()) / 8);

  std::vector<Searcher::Choice> choices;
  auto add = [&](std::string name, Searcher::Choice choice, bool mixed) -> Status {
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
    const WayOption& option = searcher.subjects()[i].options[choices[best][i]];
    report.chosen.push_back(
        {searcher.subjects()[i].node->output().name(), option.way.name, option.bytes, option.error});
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
