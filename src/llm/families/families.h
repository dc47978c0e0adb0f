// The families of language models that are known, each in its own file.
//
//   const Family* family = find_family("llama");
//   Decoder d = POM_TRY(family->decoder(config_json));
//
// A new family is a function in a file here and a row in the table of families.cpp.
#pragma once
#include <span>
#include <string_view>

#include "llm/decoder.h"
#include "llm/encoder.h"

namespace pomona::llm {

struct Family {
  std::string_view model_type;
  Result<Decoder> (*decoder)(const std::string& config_json);  // one of the two
  Result<Encoder> (*encoder)(const std::string& config_json);
};
std::span<const Family> families();
// Null when there is none.
const Family* find_family(std::string_view model_type);

Result<Decoder> llama(const std::string& config_json);
Result<Decoder> mistral(const std::string& config_json);
Result<Decoder> qwen2(const std::string& config_json);
Result<Decoder> qwen3(const std::string& config_json);
Result<Decoder> qwen3_moe(const std::string& config_json);
Result<Decoder> smollm3(const std::string& config_json);
Result<Decoder> gemma(const std::string& config_json);
Result<Decoder> gemma2(const std::string& config_json);
Result<Decoder> gemma3(const std::string& config_json);
Result<Decoder> phi3(const std::string& config_json);
Result<Decoder> gpt2(const std::string& config_json);
Result<Decoder> opt(const std::string& config_json);
Result<Decoder> gpt_neox(const std::string& config_json);
Result<Decoder> mixtral(const std::string& config_json);
Result<Encoder> bert(const std::string& config_json);
Result<Encoder> distilbert(const std::string& config_json);
Result<Encoder> roberta(const std::string& config_json);

}  // namespace pomona::llm
