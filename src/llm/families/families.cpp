#include "llm/families/families.h"

namespace pomona::llm {
namespace {

constexpr Family table[] = {
    {"llama", llama, nullptr},         {"mistral", mistral, nullptr},
    {"qwen2", qwen2, nullptr},         {"qwen3", qwen3, nullptr},
    {"qwen3_moe", qwen3_moe, nullptr}, {"smollm3", smollm3, nullptr},
    {"gemma", gemma, nullptr},         {"gemma2", gemma2, nullptr},
    {"gemma3_text", gemma3, nullptr},  {"phi3", phi3, nullptr},
    {"gpt2", gpt2, nullptr},           {"opt", opt, nullptr},
    {"gpt_neox", gpt_neox, nullptr},   {"mixtral", mixtral, nullptr},
    {"bert", nullptr, bert},           {"distilbert", nullptr, distilbert},
    {"roberta", nullptr, roberta},     {"xlm-roberta", nullptr, roberta},
};

}  // namespace

std::span<const Family> families() { return table; }

const Family* find_family(std::string_view model_type) {
  for (const Family& family : table)
    if (family.model_type == model_type) return &family;
  return nullptr;
}

}  // namespace pomona::llm
