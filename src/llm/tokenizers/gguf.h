// The tokenizer that a GGUF file has in its metadata, as tokenizer.json text.
//
//   std::string json = POM_TRY(tokenizer_json_of_gguf(file));
//   std::string config = tokenizer_config_of_gguf(file);      // special tokens by name, chat_template
//
// Models "llama" (SentencePiece BPE), "gpt2" (byte-level BPE, with the pre-tokenizer that "pre" names), "bert" and
// "t5". An unknown model or "pre" is refused by name.
#pragma once
#include "formats/gguf/gguf.h"

namespace pomona::llm {

Result<std::string> tokenizer_json_of_gguf(const gguf::File& file);
std::string tokenizer_config_of_gguf(const gguf::File& file);

}  // namespace pomona::llm
