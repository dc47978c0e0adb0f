// A model's chat template: Jinja as transformers runs it, as far as templates of language models use it.
//
//   ChatTemplate t = POM_TRY(ChatTemplate::parse(text));
//   std::string prompt = POM_TRY(t.render({{"messages", messages}, {"add_generation_prompt", true}}));
//
// Statements: for, if, set, macro, break, continue, generation, raw. Expressions, filters, tests and methods: see
// src/llm/jinja. What is not known is refused by name, when the template is parsed or where it comes to it. Blocks lose
// the line break after them and the blanks before them, as in transformers. A template cannot reach anything outside,
// and the steps it may take are limited.
#pragma once
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "base/error.h"

namespace pomona::llm {

namespace jinja {
struct Template;
}

class ChatTemplate {
 public:
  static Result<ChatTemplate> parse(std::string_view text);
  // Errors: what the template raises; a construct that is not known; too many steps.
  Result<std::string> render(const nlohmann::ordered_json& variables) const;

 private:
  std::shared_ptr<const jinja::Template> template_;
};

}  // namespace pomona::llm
