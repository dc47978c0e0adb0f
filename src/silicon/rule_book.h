// What is known of where and how programs run on Apple's chips, a line each: which record of ours holds it, or why none
// does.
//
//   for (const BookEntry& entry : rule_book()) entry.says, entry.records, entry.otherwise
//
// Records are "rule ID" (a placement rule), "check ID" (of doctor), "bad ID" (a scheme known to fail) and "error TEXT"
// (an error text that is explained). A test holds every name to what there is.
#pragma once
#include <span>
#include <string_view>
#include <vector>

namespace pomona::silicon {

struct BookEntry {
  std::string_view id, says;
  char confidence;  // as a rule's
  std::vector<std::string_view> records;
  std::string_view otherwise;  // where it is kept instead, or why there is no record
};
std::span<const BookEntry> rule_book();

}  // namespace pomona::silicon
