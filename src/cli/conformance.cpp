#include "api/conformance.h"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <fmt/format.h>

#include "cli/flags.h"
#include "cli/print.h"
#include "cli/verbs.h"

namespace pomona::cli {
namespace {

using Status = api::CaseResult::Status;
constexpr Status statuses[] = {Status::passed, Status::wrong, Status::failed, Status::unsupported};

struct Arguments {
  Strings folders;
  api::ConformanceOptions options;
};
using Counts = std::map<Status, std::size_t>;

constexpr const char* mainly = "core + expanded";

std::map<std::string, Counts> by_op(const api::ConformanceReport& report) {
  std::map<std::string, Counts> ops;
  for (const api::CaseResult& c : report.cases) ++ops[c.op.empty() ? "(unreadable)" : c.op][c.status];
  return ops;
}
std::map<std::string, Counts> by_group(const api::ConformanceReport& report) {
  std::map<std::string, Counts> groups;
  for (const api::CaseResult& c : report.cases) {
    ++groups[c.group.empty() ? "(unreadable)" : c.group][c.status];
    if (c.group == "core" || c.group == "expanded") ++groups[mainly][c.status];
  }
  return groups;
}

Json counts_json(Counts counts) {
  Json json = Json::object();
  for (Status status : statuses) json[std::string(api::name(status))] = counts[status];
  return json;
}

Json to_json(const api::ConformanceReport& report) {
  Json json{{"cases", report.cases.size()}};
  for (Status status : statuses) json[std::string(api::name(status))] = report.count(status);
  for (const auto& [op, counts] : by_op(report)) json["by_op"][op] = counts_json(counts);
  for (const auto& [group, counts] : by_group(report)) json["by_group"][group] = counts_json(counts);
  for (const api::CaseResult& c : report.cases) {
    Json one{
        {"name", c.name}, {"op", c.op}, {"group", c.group}, {"status", api::name(c.status)}, {"seconds", c.seconds}};
    if (!c.reason.empty()) one["reason"] = c.reason;
    json["results"].push_back(one);
  }
  return json;
}

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

void say_counts(const Session& session, const std::string& of, Counts counts) {
  std::size_t sum = 0;
  for (Status status : statuses) sum += counts[status];
  std::string line;
  for (Status status : statuses)
    line += fmt::format("{}{} {}", line.empty() ? "" : ", ", counts[status], api::name(status));
  session.say(fmt::format("{}{} cases: {} ({:.1f}% passed)", of, sum, line,
                          100 * double(counts[Status::passed]) / double(sum)));
}

void say(const Session& session, const api::ConformanceReport& report) {
  std::vector<std::vector<std::string>> rows{{"op", "passed", "wrong", "failed", "unsupported"}};
  for (auto [op, counts] : by_op(report)) {
    rows.push_back({op});
    for (Status status : statuses) rows.back().push_back(std::to_string(counts[status]));
  }
  session.say(table(rows));
  for (const api::CaseResult& c : report.cases)
    if (c.status == Status::wrong || c.status == Status::failed || (session.verbose && c.status != Status::passed))
      session.say(fmt::format("{}: {}: {}", api::name(c.status), c.name, first_line(c.reason)));
  auto groups = by_group(report);
  if (groups.size() > 1)
    for (const auto& [group, counts] : groups) say_counts(session, group + ", ", counts);
  Counts all;
  for (Status status : statuses) all[status] = report.count(status);
  say_counts(session, "", all);
}

}  // namespace

Run declare_conformance(CLI::App& app) {
  auto a = std::make_shared<Arguments>();
  app.add_option("folders", a->folders, "folders with cases")->required();
  add_flags(app, a->options);
  return [a](const Session& session) -> Result<Outcome> {
    auto draw = progress(session);
    auto report = api::conformance(a->folders, a->options, draw);
    if (draw) draw("", -1);
    if (!report) return std::move(report).error();
    say(session, *report);
    return Outcome{to_json(*report), report->count(Status::wrong) == 0 && report->count(Status::failed) == 0};
  };
}

}  // namespace pomona::cli
