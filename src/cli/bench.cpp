#include "api/bench.h"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <fmt/format.h>

#include "api/files.h"
#include "base/threads.h"
#include "cli/flags.h"
#include "cli/print.h"
#include "cli/verbs.h"

namespace pomona::cli {
namespace {

struct Arguments {
  std::string model;
  api::BenchOptions options;
};

// Ops of one kind together.
struct Kind {
  double seconds = 0;
  std::size_t runs = 0;
};
std::map<std::pair<std::string, std::string>, Kind> by_kind(const api::BenchReport& report) {
  std::map<std::pair<std::string, std::string>, Kind> kinds;
  for (const cpu::StepTime& step : report.profile) {
    Kind& kind = kinds[{step.op, step.kernel}];
    kind.seconds += step.seconds;
    kind.runs += step.runs;
  }
  return kinds;
}

Json to_json(const api::BenchReport& report, int iterations) {
  Json json{{"threads", thread_count()},           {"iterations", iterations},
            {"load_seconds", report.load_seconds}, {"working_bytes", report.working_bytes},
            {"weight_bytes", report.weight_bytes}, {"peak_memory_bytes", report.peak_memory}};
  for (const auto& [name, type] : report.inputs) json["inputs"][name] = type.text();
  for (const api::BenchRun& run : report.runs) {
    Json one{
        {"first_seconds", run.first}, {"median_seconds", run.median},         {"min_seconds", run.least},
        {"max_seconds", run.most},    {"quartile_1_seconds", run.quartile_1}, {"quartile_3_seconds", run.quartile_3}};
    if (run.batch) one["batch"] = run.batch;
    json["runs"].push_back(one);
  }
  if (report.tokens)
    json["tokens"] = {{"prompt_tokens", report.tokens->prompt_tokens},
                      {"prompt_per_second", report.tokens->prompt},
                      {"decode_tokens", report.tokens->decode_tokens},
                      {"decode_per_second", report.tokens->decode},
                      {"first_seconds", report.tokens->first}};
  for (const cpu::StepTime& step : report.profile)
    json["profile"].push_back({{"node", step.label},
                               {"op", step.op},
                               {"kernel", step.kernel},
                               {"seconds", step.seconds / double(iterations)}});
  return json;
}

std::string milliseconds(double seconds) { return fmt::format("{:.3f}", 1e3 * seconds); }

void say(const Session& session, const api::BenchReport& report, int iterations) {
  for (const auto& [name, type] : report.inputs) session.answer(fmt::format("{}: {}", name, type.text()));
  std::vector<std::vector<std::string>> rows{{"batch", "first ms", "median ms", "quartiles ms", "min ms", "max ms"}};
  for (const api::BenchRun& run : report.runs)
    rows.push_back({run.batch ? std::to_string(run.batch) : "as it is", milliseconds(run.first),
                    milliseconds(run.median), milliseconds(run.quartile_1) + " to " + milliseconds(run.quartile_3),
                    milliseconds(run.least), milliseconds(run.most)});
  if (report.tokens) {
    const api::TokenRates& t = *report.tokens;
    rows = {{"", "tokens", "tokens/s"}};
    if (t.prompt_tokens) rows.push_back({"prompt", std::to_string(t.prompt_tokens), fmt::format("{:.1f}", t.prompt)});
    rows.push_back({"decode", std::to_string(t.decode_tokens), fmt::format("{:.1f}", t.decode)});
    session.answer(table(rows));
    session.answer(fmt::format("{} threads; loaded in {} ms, first logits after {} ms more", thread_count(),
                               milliseconds(report.load_seconds), milliseconds(t.first)));
  } else {
    session.answer(table(rows));
    session.answer(fmt::format("{} threads, {} runs; loaded in {} ms; the first run plans", thread_count(), iterations,
                               milliseconds(report.load_seconds)));
  }
  session.answer(fmt::format("working memory {}, weights {}, peak of the process {}",
                             api::size_text(report.working_bytes), api::size_text(report.weight_bytes),
                             api::size_text(report.peak_memory)));
  if (report.profile.empty()) return;
  double total = 0;
  for (const cpu::StepTime& step : report.profile) total += step.seconds;
  rows = {{"op", "kernel", "times", "ms a run", "share"}};
  auto kinds = by_kind(report);
  std::vector<std::pair<std::pair<std::string, std::string>, Kind>> sorted(kinds.begin(), kinds.end());
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const auto& a, const auto& b) { return a.second.seconds > b.second.seconds; });
  for (const auto& [kind, time] : sorted)
    rows.push_back({kind.first, kind.second, std::to_string(time.runs / std::size_t(iterations)),
                    milliseconds(time.seconds / iterations), fmt::format("{:.1f}%", 100 * time.seconds / total)});
  session.answer(table(rows));
  if (!session.verbose) return;
  rows = {{"node", "kernel", "ms a run"}};
  for (const cpu::StepTime& step : report.profile)
    rows.push_back({step.label, step.kernel, milliseconds(step.seconds / iterations)});
  session.answer(table(rows));
}

}  // namespace

Run declare_bench(CLI::App& app) {
  auto a = std::make_shared<Arguments>();
  app.add_option("model", a->model, "the model to time")->required();
  add_flags(app, a->options);
  return [a](const Session& session) -> Result<Outcome> {
    auto report = api::bench(a->model, a->options);
    if (!report) return std::move(report).error();
    // What the profile is divided by.
    int runs = report->tokens ? int(report->tokens->decode_tokens) : int(a->options.iterations);
    say(session, *report, runs);
    return Outcome{to_json(*report, runs), true};
  };
}

}  // namespace pomona::cli
