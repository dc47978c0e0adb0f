#include "report/page.h"

namespace pomona::report {
namespace {

constexpr std::string_view style = R"css(
:root { color-scheme: light dark; --paper: #fff; --ink: #1b1d21; --soft: #6b7280; --line: #d9dce1; --panel: #f5f6f8;
  --ane: #2f9e6e; --gpu: #3b78d8; --cpu: #c8862a; --focus: #b3307a; }
@media (prefers-color-scheme: dark) { :root { --paper: #15171b; --ink: #e8eaee; --soft: #9aa1ad; --line: #33373f;
  --panel: #1e2127; --ane: #46c08c; --gpu: #6aa0f2; --cpu: #e2a94f; --focus: #f06ab0; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1200px; padding: 1rem; background: var(--paper); color: var(--ink);
  font: 15px/1.45 system-ui, sans-serif; }
h1 { font-size: 1.3rem; margin: 0 0 .3rem; overflow-wrap: anywhere; } h2 { font-size: 1rem; margin: 1.2rem 0 .4rem; }
.soft { color: var(--soft); } .row { display: flex; flex-wrap: wrap; gap: .6rem 1.4rem; align-items: baseline; }
.card { background: var(--panel); border: 1px solid var(--line); border-radius: 8px; padding: .6rem .8rem; }
.ane { color: var(--ane); } .gpu { color: var(--gpu); } .cpu { color: var(--cpu); } b.number { font-size: 1.15rem; }
canvas { width: 100%; display: block; border: 1px solid var(--line); border-radius: 8px; background: var(--panel);
  touch-action: none; }
canvas:focus-visible, input:focus-visible, button:focus-visible, [tabindex]:focus-visible { outline: 2px solid var(--focus); }
input[type=search] { width: 100%; padding: .5rem .7rem; border: 1px solid var(--line); border-radius: 8px; font: inherit;
  background: var(--paper); color: inherit; }
button { font: inherit; color: inherit; background: var(--panel); border: 1px solid var(--line); border-radius: 6px;
  padding: .2rem .7rem; cursor: pointer; }
.two { display: grid; grid-template-columns: 1fr 1fr; gap: 1rem; } @media (max-width: 760px) { .two { grid-template-columns: 1fr; } }
#list { height: 420px; overflow: auto; border: 1px solid var(--line); border-radius: 8px; position: relative; }
#list .item { position: absolute; left: 0; right: 0; height: 26px; padding: 2px 8px; white-space: nowrap; overflow: hidden;
  text-overflow: ellipsis; cursor: pointer; font-size: 13px; }
#list .item.chosen { background: color-mix(in srgb, var(--focus) 22%, transparent); }
table { border-collapse: collapse; width: 100%; font-size: 14px; } td, th { text-align: left; padding: .25rem .5rem;
  border-bottom: 1px solid var(--line); vertical-align: top; overflow-wrap: anywhere; } th, td:first-child { white-space: nowrap; }
.scroll { overflow-x: auto; } a { color: var(--gpu); }
)css";

}  // namespace

std::string escaped(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '&')
      out += "&amp;";
    else if (c == '"')
      out += "&quot;";
    else
      out += c;
  }
  return out;
}

std::string inside_script(std::string json) {
  std::string out;
  for (char c : json) out += c == '<' ? std::string("\\u003c") : std::string(1, c);
  return out;
}

std::string page(std::string_view title, std::string_view body, std::string_view script, std::string data) {
  std::string out = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n";
  out += "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>" + escaped(title) +
         "</title>\n";
  out += "<style>" + std::string(style) + "</style></head>\n<body>\n" + std::string(body);
  out += "\n<script>const data = " + inside_script(std::move(data)) + ";\n" + std::string(script) +
         "</script>\n</body></html>\n";
  return out;
}

}  // namespace pomona::report
