#include "llm/chat_template.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

namespace pomona::llm {
namespace {

using Json = nlohmann::ordered_json;

std::string refusal(const std::string& text) {
  auto parsed = ChatTemplate::parse(text);
  if (!parsed) return parsed.error().what;
  auto rendered = parsed->render(Json::object());
  return rendered ? "rendered: " + *rendered : rendered.error().what;
}

// templates.json holds what jinja2 makes of templates and conversations, null where it raises an error.
TEST(ChatTemplate, RendersAsJinjaDoes) {
  const char* source = std::getenv("POMONA_SOURCE");
  ASSERT_TRUE(source);
  std::ifstream file(std::string(source) + "/tests/llm/chat/templates.json");
  Json all = Json::parse(file);
  ASSERT_GE(all["cases"].size(), 50u);
  for (const Json& c : all["cases"]) {
    SCOPED_TRACE(c["template"].get<std::string>() + " " + c["conversation"].get<std::string>());
    auto parsed = ChatTemplate::parse(all["templates"][c["template"].get<std::string>()].get<std::string>());
    EXPECT_TRUE(parsed) << describe(parsed.error());
    if (!parsed) continue;
    auto rendered = parsed->render(c["variables"]);
    EXPECT_EQ(bool(rendered), c["text"].is_string()) << (rendered ? *rendered : describe(rendered.error()));
    if (rendered && c["text"].is_string()) {
      EXPECT_EQ(*rendered, c["text"].get<std::string>());
    }
  }
}

TEST(ChatTemplate, RefusesByName) {
  EXPECT_EQ(refusal("{% include 'x' %}"), "the statement 'include' is not known");
  EXPECT_EQ(refusal("{{ x | shuffle }}"), "the filter 'shuffle' is not known");
  EXPECT_EQ(refusal("{{ x is prime }}"), "the test 'prime' is not known");
  EXPECT_EQ(refusal("{{ x.y }}"), "'x' is undefined, and has no 'y'");
  EXPECT_EQ(refusal("{{ raise_exception('roles must alternate') }}"), "roles must alternate");
  EXPECT_EQ(refusal("{% for x in [1] %}"), "'endfor' is missing at the end");
  EXPECT_EQ(refusal("{{ 'a }}"), "line 1: '{{' is not closed");
  EXPECT_EQ(refusal("{{ nobody() }}"), "'nobody' is undefined, and cannot be called");
}

TEST(ChatTemplate, ComesToAnEnd) {
  EXPECT_EQ(refusal("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"), "macro 'f' calls itself too often");
  EXPECT_EQ(refusal("{% for i in range(90000) %}{% for j in range(90000) %}{% endfor %}{% endfor %}"),
            "the template does not come to an end");
  EXPECT_NE(refusal("{{ " + std::string(5000, '(') + "1" + std::string(5000, ')') + " }}").find("nested more than"),
            std::string::npos);
}

}  // namespace
}  // namespace pomona::llm
