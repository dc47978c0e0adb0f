// Fields of JSON objects that may be missing or of another type: then the fallback.
#pragma once
#include <nlohmann/json.hpp>
#include <string>

namespace pomona::llm {

inline std::string text_field(const nlohmann::json& json, const char* key, std::string fallback) {
  auto at = json.find(key);
  return at != json.end() && at->is_string() ? at->get<std::string>() : fallback;
}
inline std::int64_t integer_field(const nlohmann::json& json, const char* key, std::int64_t fallback) {
  auto at = json.find(key);
  return at != json.end() && at->is_number_integer() ? at->get<std::int64_t>() : fallback;
}
inline double number_field(const nlohmann::json& json, const char* key, double fallback) {
  auto at = json.find(key);
  return at != json.end() && at->is_number() ? at->get<double>() : fallback;
}

}  // namespace pomona::llm
