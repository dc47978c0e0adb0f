// Fields of JSON objects that may be missing or of another type: then the fallback.
#pragma once
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace pomona::llm {

std::string text_field(const nlohmann::json& json, const char* key, std::string fallback);
std::int64_t integer_field(const nlohmann::json& json, const char* key, std::int64_t fallback);
double number_field(const nlohmann::json& json, const char* key, double fallback);

}  // namespace pomona::llm
