// A page about many things with a number each: weights and their errors, layers and how far they are from a reference.
//
//   Sheet s{.title = "int4 of encoder", .bars_title = "error per weight", .bars = {{"layer.0.q", 0.02, "0.020"}}};
//   write(sheet_page(s))          // one self-contained file: bars, a cloud of points, a table with search
//
// It shows what it is given and computes nothing. plan_page.h is the page with a graph.
#pragma once
#include <string>
#include <vector>

namespace pomona::report {

struct SheetTotal {
  std::string label, value;
  bool bad = false;
};
struct SheetBar {
  std::string label;
  double value = 0;  // drawn on a logarithmic scale; 0 and less as no bar
  std::string text;
  bool bad = false;
};
struct SheetPoint {
  double x = 0, y = 0;  // y on a logarithmic scale
  std::string label;
  bool best = false;  // nothing is better in both
};
struct Sheet {
  std::string title, note;
  std::vector<SheetTotal> totals;
  std::string bars_title;
  std::vector<SheetBar> bars;  // in the order of the program
  std::string points_title, x_label, y_label;
  std::vector<SheetPoint> points;
  std::string table_title;
  std::vector<std::string> columns;
  std::vector<std::vector<std::string>> rows;
};

// Marks the points that no other beats in both x and y.
void mark_best(std::vector<SheetPoint>& points);
std::string sheet_page(const Sheet& sheet);

}  // namespace pomona::report
