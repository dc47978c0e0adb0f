// Untrusted tokenizers: tokenizer.json, SentencePiece models, tiktoken files; and texts for them.
#include "llm/tokenizer.h"

using pomona::llm::Tokenizer;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  auto use = [](const pomona::Result<std::string>& json) {
    auto tokenizer = json ? Tokenizer::from_json(*json) : Tokenizer::from_json("");
    if (!tokenizer) return;
    for (std::string_view words : {"Hello, w\xC3\xB6rld 123  <s>", "a", ""})
      if (auto ids = (*tokenizer)->encode(words)) (void)(*tokenizer)->decode(*ids);
  };
  if (text.starts_with('{'))
    use(std::string(text));
  else if (text.starts_with('\n'))
    use(pomona::llm::tokenizer_json_of_sentencepiece(text));
  else
    use(pomona::llm::tokenizer_json_of_tiktoken(text));
  return 0;
}
