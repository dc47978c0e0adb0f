#include "silicon/llm_shape.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/ascii.h"

namespace pomona::silicon {
namespace {

struct Known {
  std::string_view family;  // as letters_and_digits() has it
  double least_b, most_b;   // sizes that this row covers
  LlmShape shape;
};

// From the models' config.json. Mixtures of experts first, as their names begin like dense ones.
const std::vector<Known>& table() {
  static const std::vector<Known> rows{
      {"gptoss", 15, 30, {24, 2880, 512, 201088, 3.6, false, true}},
      {"gptoss", 80, 150, {36, 2880, 512, 201088, 5.1, false, true}},
      {"glm47flash", 20, 40, {47, 2048, 576, 154880, 3.9, false, true}},
      {"glm45air", 80, 130, {46, 4096, 1024, 151552, 12, false, true}},
      {"mixtral8x7b", 40, 50, {32, 4096, 1024, 32000, 12.9, false, true}},
      {"mixtral8x22b", 130, 150, {56, 6144, 1024, 32768, 39, false, true}},
      {"phi35moe", 35, 50, {32, 4096, 1024, 32064, 6.6, false, true}},
      {"qwen3coder30b", 25, 35, {48, 2048, 512, 151936, 3.3, false, true}},
      {"qwen330b", 25, 35, {48, 2048, 512, 151936, 3.3, false, true}},
      {"qwen3235b", 200, 260, {94, 4096, 512, 151936, 22, false, true}},
      {"deepseekv3", 600, 700, {61, 7168, 576, 129280, 37, false, true}},
      {"deepseekr1671b", 600, 700, {61, 7168, 576, 129280, 37, false, true}},
      {"gemma31b", 0.9, 1.1, {26, 1152, 256, 262144, {}, true, true}},
      {"gemma34b", 3, 5, {34, 2560, 1024, 262144, {}, true, true}},
      {"gemma312b", 10, 14, {48, 3840, 2048, 262144, {}, true, true}},
      {"gemma327b", 24, 30, {62, 5376, 2048, 262144, {}, true, true}},
      {"gemma22b", 2, 3, {26, 2304, 1024, 256000, {}, true, true}},
      {"gemma29b", 8, 10, {42, 3584, 2048, 256000, {}, true, true}},
      {"gemma227b", 24, 30, {46, 4608, 2048, 256000, {}, true, true}},
      {"qwen2505b", 0.3, 0.7, {24, 896, 128, 151936, {}, true, true}},
      {"qwen25", 1.2, 1.9, {28, 1536, 256, 151936, {}, true, true}},
      {"qwen25", 2.5, 4, {36, 2048, 256, 151936, {}, true, true}},
      {"qwen25", 6, 9, {28, 3584, 512, 152064, {}, false, true}},
      {"qwen25", 12, 16, {48, 5120, 1024, 152064, {}, false, true}},
      {"qwen25", 28, 36, {64, 5120, 1024, 152064, {}, false, true}},
      {"qwen25", 68, 76, {80, 8192, 1024, 152064, {}, false, true}},
      {"qwen3", 0.4, 0.9, {28, 1024, 1024, 151936, {}, true, true}},
      {"qwen3", 1.2, 2.2, {28, 2048, 1024, 151936, {}, true, true}},
      {"qwen3", 3, 5, {36, 2560, 1024, 151936, {}, true, true}},
      {"qwen3", 7, 9, {36, 4096, 1024, 151936, {}, false, true}},
      {"qwen3", 12, 16, {40, 5120, 1024, 151936, {}, false, true}},
      {"qwen3", 28, 36, {64, 5120, 1024, 151936, {}, false, true}},
      {"llama27b", 6, 8, {32, 4096, 4096, 32000, {}, false, true}},
      {"llama213b", 12, 14, {40, 5120, 5120, 32000, {}, false, true}},
      {"llama270b", 65, 75, {80, 8192, 1024, 32000, {}, false, true}},
      {"llama7b", 6, 8, {32, 4096, 4096, 32000, {}, false, true}},
      {"llama13b", 12, 14, {40, 5120, 5120, 32000, {}, false, true}},
      {"llama30b", 28, 36, {60, 6656, 6656, 32000, {}, false, true}},
      {"llama65b", 60, 70, {80, 8192, 8192, 32000, {}, false, true}},
      {"llama3", 0.9, 1.6, {16, 2048, 512, 128256, {}, true, true}},
      {"llama3", 2.8, 3.8, {28, 3072, 1024, 128256, {}, true, true}},
      {"llama3", 7, 9, {32, 4096, 1024, 128256, {}, false, true}},
      {"llama3", 65, 75, {80, 8192, 1024, 128256, {}, false, true}},
      {"llama3", 380, 420, {126, 16384, 1024, 128256, {}, false, true}},
      {"tinyllama", 0.9, 1.3, {22, 2048, 256, 32000, {}, false, true}},
      {"smollm2135m", 0.1, 0.2, {30, 576, 192, 49152, {}, true, true}},
      {"smollm2", 0.3, 0.5, {32, 960, 320, 49152, {}, true, true}},
      {"smollm2", 1.4, 2, {24, 2048, 2048, 49152, {}, true, true}},
      {"mistral7b", 6.5, 8, {32, 4096, 1024, 32768, {}, false, true}},
      {"mistralnemo", 11, 13, {40, 5120, 1024, 131072, {}, false, true}},
      {"mistralsmall", 22, 25, {40, 5120, 1024, 131072, {}, false, true}},
      {"phi3mini", 3, 4.5, {32, 3072, 3072, 32064, {}, false, true}},
      {"phi4mini", 3, 4.5, {32, 3072, 1024, 200064, {}, true, true}},
      {"phi4", 13, 16, {40, 5120, 1280, 100352, {}, false, true}},
      {"gpt2medium", 0.3, 0.5, {24, 1024, 1024, 50257, {}, true, true}},
      {"gpt2large", 0.6, 0.9, {36, 1280, 1280, 50257, {}, true, true}},
      {"gpt2xl", 1.3, 1.8, {48, 1600, 1600, 50257, {}, true, true}},
      {"pythia410m", 0.3, 0.5, {24, 1024, 1024, 50304, {}, false, true}},
      {"pythia1b", 0.9, 1.2, {16, 2048, 2048, 50304, {}, false, true}},
      {"yi34b", 30, 38, {60, 7168, 1024, 64000, {}, false, true}},
      {"commandr", 30, 38, {40, 8192, 8192, 256000, {}, true, true}},
  };
  return rows;
}

// "30B-A3B": the billions after an 'A' that follows a size.
std::optional<double> active_in_name(std::string_view model) {
  for (std::size_t i = 1; i + 1 < model.size(); ++i) {
    bool starts = (model[i] == 'A' || model[i] == 'a') && (model[i - 1] == '-' || model[i - 1] == '_');
    if (!starts || !std::isdigit(static_cast<unsigned char>(model[i + 1]))) continue;
    std::string tail(model.substr(i + 1));
    char* end = nullptr;
    double active = std::strtod(tail.c_str(), &end);
    if (end && (*end == 'B' || *end == 'b') && active > 0) return active;
  }
  return {};
}

// Dense transformers of n parameters: n = 12 layers width^2, with about 128 of width per layer.
LlmShape estimated(double params_b) {
  LlmShape shape;
  double width = std::cbrt(params_b * 1e9 * 128 / 12);
  shape.width = std::max(256, int(std::lround(width / 128)) * 128);
  shape.layers = std::clamp(int(std::lround(params_b * 1e9 / 12 / double(shape.width) / shape.width)), 8, 126);
  shape.kv_width = std::max(256, shape.width / 4);
  shape.tied_head = params_b < 4;
  return shape;
}

}  // namespace

LlmShape llm_shape(std::string_view model, double params_b) {
  std::string name = letters_and_digits(model);
  auto active = active_in_name(model);
  for (const Known& row : table())
    if (name.find(row.family) != std::string::npos && params_b >= row.least_b && params_b <= row.most_b &&
        (!active || row.shape.active_b))
      return row.shape;
  LlmShape shape = estimated(active ? std::sqrt(*active * params_b) : params_b);
  shape.active_b = active;
  return shape;
}

}  // namespace pomona::silicon
