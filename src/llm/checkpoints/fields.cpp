#include "llm/checkpoints/fields.h"

#include <nlohmann/json.hpp>

namespace pomona::llm {

std::string text_field(const nlohmann::json& json, const char* key, std::string fallback) {
  auto at = json.find(key);
  return at != json.end() && at->is_string() ? at->get<std::string>() : fallback;
}

std::int64_t integer_field(const nlohmann::json& json, const char* key, std::int64_t fallback) {
  auto at = json.find(key);
  return at != json.end() && at->is_number_integer() ? at->get<std::int64_t>() : fallback;
}

double number_field(const nlohmann::json& json, const char* key, double fallback) {
  auto at = json.find(key);
  return at != json.end() && at->is_number() ? at->get<double>() : fallback;
}

}  // namespace pomona::llm
