// Untrusted chat templates, rendered with a short conversation.
#include "llm/chat_template.h"

#include <nlohmann/json.hpp>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  auto made = pomona::llm::ChatTemplate::parse({reinterpret_cast<const char*>(data), size});
  if (!made) return 0;
  nlohmann::ordered_json variables{
      {"messages", {{{"role", "system"}, {"content", "Be kind."}}, {{"role", "user"}, {"content", "Hi?"}}}},
      {"add_generation_prompt", true},
      {"bos_token", "<s>"},
      {"eos_token", "</s>"},
      {"tools", nullptr}};
  (void)made->render(variables);
  return 0;
}
