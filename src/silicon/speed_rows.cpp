#include "silicon/speed_rows.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

namespace pomona::silicon {
namespace {

using Fields = std::vector<std::string>;
struct Line {
  std::size_t number;  // in the file, from 1
  Fields fields;
};

Result<std::vector<Line>> split_csv(std::string_view text) {
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  std::vector<Line> lines;
  std::size_t number = 1, i = 0;
  while (i < text.size()) {
    Line line{number, {}};
    for (bool more = true; more;) {
      std::string field;
      if (i < text.size() && text[i] == '"') {
        ++i;
        while (i < text.size() && (text[i] != '"' || (i + 1 < text.size() && text[i + 1] == '"'))) {
          if (text[i] == '"') ++i;
          if (text[i] == '\n') ++number;
          field += text[i++];
        }
        POM_REQUIRE(i < text.size(), "line {}: a quoted field does not end", line.number);
        ++i;
      }
      while (i < text.size() && text[i] != ',' && text[i] != '\n') {
        if (text[i] != '\r') field += text[i];
        ++i;
      }
      line.fields.push_back(std::move(field));
      more = i < text.size() && text[i] == ',';
      ++i;
    }
    ++number;
    if (line.fields.size() > 1 || !line.fields[0].empty()) lines.push_back(std::move(line));
  }
  return lines;
}

Result<double> number_in(const std::string& text, std::string_view column, std::size_t line) {
  std::size_t first = text.find_first_not_of(' ');
  if (first == std::string::npos) return 0.0;
  const char *begin = text.c_str() + first, *end = text.c_str() + text.size();
  char* at = nullptr;  // libc++ has no std::from_chars of floating types before 20
  double value = std::strtod(begin, &at);
  bool parsed = at > begin;
  while (at < end && *at == ' ') ++at;
  POM_REQUIRE(parsed && at == end && std::isfinite(value) && value >= 0,
              "line {}: '{}' in column {} is not a number of 0 or more", line, text, column);
  return value;
}

std::string quoted(const std::string& field) {
  if (field.find_first_of(",\"\n") == std::string::npos) return field;
  std::string out = "\"";
  for (char c : field) out += c == '"' ? std::string("\"\"") : std::string(1, c);
  return out + '"';
}

}  // namespace

Result<SpeedTable> read_speed_table(std::string_view text) {
  auto lines = POM_TRY(split_csv(text));
  POM_REQUIRE(!lines.empty(), "the table is empty");
  SpeedTable table;
  table.columns = lines[0].fields;
  auto column = [&](std::string_view name) -> std::optional<std::size_t> {
    for (std::size_t i = 0; i < table.columns.size(); ++i)
      if (table.columns[i] == name) return i;
    return {};
  };
  for (const char* needed : {"chip", "runtime", "params_b", "phase"})
    POM_REQUIRE(column(needed), "the first line has no column '{}'", needed);
  POM_REQUIRE(column("bits_per_weight") || column("weight_gib"),
              "the first line has neither a column 'bits_per_weight' nor 'weight_gib'");
  for (std::size_t r = 1; r < lines.size(); ++r) {
    Fields& fields = lines[r].fields;
    POM_REQUIRE(fields.size() <= table.columns.size(), "line {}: {} fields, where the first line has {}",
                lines[r].number, fields.size(), table.columns.size());
    fields.resize(table.columns.size());
    auto word = [&](std::string_view name) {
      auto at = column(name);
      return at ? fields[*at] : std::string();
    };
    auto number = [&](std::string_view name) { return number_in(word(name), name, lines[r].number); };
    SpeedCase row;
    row.chip = word("chip");
    row.gpu_cores = int(std::min(POM_TRY(number("gpu_cores")), 1e6));
    row.bandwidth_gbs = POM_TRY(number("bandwidth_gbs"));
    row.runtime = word("runtime");
    row.model = word("model");
    row.params_b = POM_TRY(number("params_b"));
    row.quant = word("quant");
    row.bits_per_weight = POM_TRY(number("bits_per_weight"));
    row.phase = word("phase");
    row.weight_gib = POM_TRY(number("weight_gib"));
    row.test = word("test");
    row.build = word("build");
    row.tokens_per_s = POM_TRY(number("tokens_per_s"));
    table.cases.push_back(std::move(row));
    table.rows.push_back(std::move(fields));
  }
  return table;
}

SpeedPredictions predict_table(const SpeedTable& table, const SpeedConstants& constants) {
  SpeedPredictions predictions;
  struct Group {
    std::vector<double> errors;
    std::size_t inside = 0;
  };
  std::map<std::string, Group> groups;
  for (const SpeedCase& row : table.cases) {
    auto speed = predict_speed(row, constants);
    if (!speed) {
      predictions.lines.push_back({{}, std::move(speed).error().what});
      continue;
    }
    predictions.lines.push_back({*speed, {}});
    if (row.tokens_per_s <= 0) continue;
    Group& group = groups[row.runtime + " " + row.phase];
    group.errors.push_back(std::abs(speed->tokens_per_s / row.tokens_per_s - 1));
    group.inside += row.tokens_per_s >= speed->low && row.tokens_per_s <= speed->high;
  }
  for (const auto& [name, group] : groups)
    predictions.errors.push_back({name, group.errors.size(), quantile(group.errors, 0.5), quantile(group.errors, 0.9),
                                  double(group.inside) / double(group.errors.size())});
  return predictions;
}

std::string write_speed_table(const SpeedTable& table, const std::vector<SpeedLine>& lines) {
  std::string text;
  for (const std::string& column : table.columns) text += quoted(column) + ",";
  text += "predicted_tokens_per_s,low,high\n";
  for (std::size_t i = 0; i < table.rows.size(); ++i) {
    for (const std::string& field : table.rows[i]) text += quoted(field) + ",";
    const auto& speed = lines[i].speed;
    text += speed ? fmt::format("{:.4g},{:.4g},{:.4g}\n", speed->tokens_per_s, speed->low, speed->high) : ",,\n";
  }
  return text;
}

}  // namespace pomona::silicon
