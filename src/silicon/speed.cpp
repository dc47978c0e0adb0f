#include "silicon/speed.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "silicon/speed_terms.h"

namespace pomona::silicon {
namespace {

// How much wider, as a power, an interval is where the fit has no rows of the kind.
constexpr double wider = 1.6;
// The least spread an interval admits: the same build on the same chip differs by as much between people.
constexpr double least_spread = 1.06;

struct Row {
  Terms terms;
  double seconds;  // measured, of a token
  std::string chip;
};

double seconds_of(const Terms& terms, const SpeedFit& fit) {
  double total = terms.seconds;
  for (const auto& [term, units] : terms.units) {
    auto found = fit.seconds.find(term);
    if (found != fit.seconds.end()) total += found->second * units;
  }
  return total;
}

// Minimises sum_i (w_i (x_i c - y_i))^2 over c >= 0 by coordinate descent on the normal equations; x_i are the terms of
// row i divided by its measured time, so that errors are relative, and y_i is the share of the time they have to make.
std::vector<double> non_negative_least_squares(const std::vector<std::vector<double>>& x, const std::vector<double>& y,
                                               const std::vector<double>& w) {
  std::size_t n = x.empty() ? 0 : x[0].size();
  std::vector<double> gram(n * n, 0), right(n, 0), c(n, 0);
  for (std::size_t r = 0; r < x.size(); ++r)
    for (std::size_t i = 0; i < n; ++i) {
      right[i] += w[r] * w[r] * x[r][i] * y[r];
      for (std::size_t j = 0; j < n; ++j) gram[i * n + j] += w[r] * w[r] * x[r][i] * x[r][j];
    }
  for (int sweep = 0; sweep < 20000; ++sweep) {
    double moved = 0;
    for (std::size_t i = 0; i < n; ++i) {
      if (gram[i * n + i] <= 0) continue;
      double slope = right[i];
      for (std::size_t j = 0; j < n; ++j) slope -= gram[i * n + j] * c[j];
      double next = std::max(0.0, c[i] + slope / gram[i * n + i]);
      moved = std::max(moved, std::abs(next - c[i]) * std::sqrt(gram[i * n + i]));
      c[i] = next;
    }
    if (moved < 1e-9) break;
  }
  return c;
}

SpeedFit fit_group(const std::vector<const Row*>& rows) {
  std::set<std::string> names;
  for (const Row* row : rows)
    for (const auto& [term, units] : row->terms.units) names.insert(term);
  std::vector<std::string> terms(names.begin(), names.end());
  std::vector<std::vector<double>> x;
  std::vector<double> y;
  for (const Row* row : rows) {
    y.push_back(1 - row->terms.seconds / row->seconds);
    std::vector<double> line;
    for (const std::string& term : terms) {
      auto found = row->terms.units.find(term);
      line.push_back(found == row->terms.units.end() ? 0 : found->second / row->seconds);
    }
    x.push_back(std::move(line));
  }
  // Weights 1/sqrt(error) turn squares into absolute values; 3 % is taken for noise.
  std::vector<double> w(rows.size(), 1), c;
  for (int round = 0; round < 15; ++round) {
    c = non_negative_least_squares(x, y, w);
    for (std::size_t r = 0; r < x.size(); ++r) {
      double fitted = 0;
      for (std::size_t i = 0; i < c.size(); ++i) fitted += c[i] * x[r][i];
      w[r] = 1 / std::sqrt(std::max(std::abs(fitted - y[r]), 0.03));
    }
  }
  SpeedFit fit;
  fit.rows = rows.size();
  for (std::size_t i = 0; i < c.size(); ++i)
    if (c[i] > 0) fit.seconds[terms[i]] = c[i];
  return fit;
}

struct Residual {
  std::string chip;
  double ratio;  // measured speed over predicted
};

// The spread that held `residuals`: wider than their own 10 and 90 % by what a chip not among them adds, as the errors
// of one chip's rows go together.
constexpr double low_share = 0.05, high_share = 0.95;
void set_interval(SpeedFit& fit, const std::vector<double>& residuals) {
  if (residuals.size() < 5) {
    fit.low = 0.7;
    fit.high = 1.4;
    return;
  }
  // Few residuals seldom hold the tails of the rest.
  double few = 1 + 2 / double(residuals.size());
  fit.low = std::min(std::pow(quantile(residuals, low_share), few), 1 / least_spread);
  fit.high = std::max(std::pow(quantile(residuals, high_share), few), least_spread);
}

LeftOut study_group(const std::string& group, const std::vector<const Row*>& rows, SpeedFit& fit) {
  std::set<std::string> chips;
  for (const Row* row : rows) chips.insert(row->chip);
  LeftOut left{group, rows.size(), chips.size()};
  std::vector<Residual> residuals;
  std::vector<double> errors;
  if (chips.size() > 1)
    for (const std::string& chip : chips) {
      std::vector<const Row*> rest;
      for (const Row* row : rows)
        if (row->chip != chip) rest.push_back(row);
      SpeedFit without = fit_group(rest);
      for (const Row* row : rows) {
        if (row->chip != chip) continue;
        double predicted = seconds_of(row->terms, without);
        if (predicted <= 0) continue;
        residuals.push_back({chip, predicted / row->seconds});
        errors.push_back(std::abs(row->seconds / predicted - 1));
      }
    }
  std::vector<double> ratios;
  for (const Residual& r : residuals) ratios.push_back(r.ratio);
  set_interval(fit, ratios);
  // A chip's rows are held against the interval that the other chips' errors give.
  std::size_t inside = 0;
  for (const Residual& r : residuals) {
    std::vector<double> others;
    for (const Residual& other : residuals)
      if (other.chip != r.chip) others.push_back(other.ratio);
    SpeedFit spread;
    set_interval(spread, others);
    inside += r.ratio >= spread.low && r.ratio <= spread.high;
  }
  left.median_error = errors.empty() ? 0 : quantile(errors, 0.5);
  left.p90_error = errors.empty() ? 0 : quantile(errors, 0.9);
  left.inside = residuals.empty() ? 0 : double(inside) / double(residuals.size());
  return left;
}

}  // namespace

double quantile(std::vector<double> values, double share) {
  if (values.empty()) return 1;
  std::sort(values.begin(), values.end());
  double at = share * double(values.size() - 1);
  auto below = std::size_t(at);
  double rest = at - double(below);
  return below + 1 < values.size() ? values[below] * (1 - rest) + values[below + 1] * rest : values.back();
}

Result<Speed> predict_speed(const SpeedCase& row, const SpeedConstants& constants) {
  Terms terms = POM_TRY(speed_terms(row));
  auto fit = constants.find(terms.group);
  POM_REQUIRE(fit != constants.end(), "there are no constants for '{}'", terms.group);
  double seconds = seconds_of(terms, fit->second);
  POM_REQUIRE(seconds > 0, "the constants of '{}' have no term for this row", terms.group);
  double power = std::pow(wider, terms.extrapolated);
  Speed speed{1 / seconds, std::pow(fit->second.low, power) / seconds, std::pow(fit->second.high, power) / seconds, {}};
  speed.basis = fmt::format("{} measured rows of {}{}", fit->second.rows, terms.group,
                            terms.extrapolated ? "; wider for " + terms.why_extrapolated : std::string());
  return speed;
}

Result<SpeedStudy> fit_speed(std::span<const SpeedCase> cases) {
  std::map<std::string, std::vector<Row>> groups;
  for (const SpeedCase& each : cases) {
    if (each.tokens_per_s <= 0) continue;
    Terms terms = POM_TRY(speed_terms(each));
    std::string group = terms.group;
    groups[group].push_back({std::move(terms), 1 / each.tokens_per_s, each.chip});
  }
  POM_REQUIRE(!groups.empty(), "no row has a measured speed");
  SpeedStudy study;
  for (const auto& [group, rows] : groups) {
    std::vector<const Row*> all;
    for (const Row& row : rows) all.push_back(&row);
    SpeedFit fit = fit_group(all);
    study.left_out.push_back(study_group(group, all, fit));
    study.constants[group] = std::move(fit);
  }
  return study;
}

std::string speed_constants_json(const SpeedConstants& constants) {
  nlohmann::ordered_json json;
  for (const auto& [group, fit] : constants)
    json[group] = {{"rows", fit.rows}, {"low", fit.low}, {"high", fit.high}, {"seconds", fit.seconds}};
  return json.dump(1);
}

Result<SpeedConstants> speed_constants_from_json(std::string_view text) {
  auto json = nlohmann::json::parse(text, nullptr, false);
  POM_REQUIRE(json.is_object(), "constants of speed are a JSON object");
  SpeedConstants constants;
  for (const auto& [group, entry] : json.items()) {
    POM_REQUIRE(entry.is_object() && entry.contains("seconds") && entry["seconds"].is_object(),
                "'{}' has no object 'seconds'", group);
    SpeedFit fit;
    auto number = [&](const char* key, double otherwise) {
      return entry.contains(key) && entry[key].is_number() ? entry[key].get<double>() : otherwise;
    };
    fit.rows = std::size_t(std::max(0.0, number("rows", 0)));
    fit.low = number("low", 0.8);
    fit.high = number("high", 1.25);
    for (const auto& [term, value] : entry["seconds"].items()) {
      POM_REQUIRE(value.is_number() && value.get<double>() >= 0, "'{}' of '{}' is not a time", term, group);
      fit.seconds[term] = value.get<double>();
    }
    constants[group] = std::move(fit);
  }
  return constants;
}

}  // namespace pomona::silicon
