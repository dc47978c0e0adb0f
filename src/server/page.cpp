#include "server/page.h"

namespace pomona::server {

std::string_view chat_page() {
  return R"html(<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Pomona</title>
<style>
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 0 auto; padding: 1rem; display: flex; flex-direction: column; min-height: 95vh; box-sizing: border-box; }
#log { flex: 1; }
.message { white-space: pre-wrap; overflow-wrap: anywhere; padding: .5rem .8rem; margin: .5rem 0; border-radius: .6rem; }
.user { background: #8883; margin-left: 20%; }
.error { color: #c33; }
form { display: flex; gap: .5rem; position: sticky; bottom: 1rem; }
textarea { flex: 1; font: inherit; padding: .5rem; border-radius: .5rem; }
details { font-size: .85rem; opacity: .8; }
</style></head><body>
<h1>Pomona</h1>
<div id="log" aria-live="polite"></div>
<form id="form"><textarea id="text" rows="2" placeholder="Say something" aria-label="Message" autofocus></textarea>
<button id="send">Send</button><button id="reset" type="button">Reset</button></form>
<p id="speed"></p>
<details><summary>Settings</summary>
<label>Temperature <input id="temperature" type="number" min="0" max="2" step="0.1" value="0"></label>
<label>API key <input id="key" type="password" autocomplete="off"></label></details>
<script>
const get = id => document.getElementById(id);
let messages = [], running = null;
function show(role, text) {
  const box = document.createElement("div");
  box.className = "message " + role;
  box.textContent = text;
  get("log").append(box);
  return box;
}
async function ask() {
  running = new AbortController();
  get("send").textContent = "Stop";
  const box = show("assistant", ""), begun = performance.now();
  let answer = "", usage = null;
  try {
    const headers = {"Content-Type": "application/json"};
    if (get("key").value) headers.Authorization = "Bearer " + get("key").value;
    const body = {messages, stream: true, stream_options: {include_usage: true}, temperature: Number(get("temperature").value)};
    const response = await fetch("/v1/chat/completions", {method: "POST", headers, body: JSON.stringify(body), signal: running.signal});
    if (!response.ok) throw new Error((await response.json()).error.message);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const {done, value} = await reader.read();
      if (done) break;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines) {
        if (!line.startsWith("data: ") || line === "data: [DONE]") continue;
        const piece = JSON.parse(line.slice(6));
        if (piece.error) throw new Error(piece.error.message);
        answer += piece.choices[0]?.delta?.content ?? "";
        usage = piece.usage ?? usage;
        box.textContent = answer;
        window.scrollTo(0, document.body.scrollHeight);
      }
    }
  } catch (problem) {
    if (problem.name !== "AbortError") show("error", problem.message);
  }
  if (answer) messages.push({role: "assistant", content: answer});
  const seconds = (performance.now() - begun) / 1000;
  get("speed").textContent = usage ? `${usage.completion_tokens} tokens, ${(usage.completion_tokens / seconds).toFixed(1)} per second` : "";
  running = null;
  get("send").textContent = "Send";
}
get("form").onsubmit = event => {
  event.preventDefault();
  if (running) return running.abort();
  const text = get("text").value.trim();
  if (!text) return;
  get("text").value = "";
  messages.push({role: "user", content: text});
  show("user", text);
  ask();
};
get("text").onkeydown = event => {
  if (event.key === "Enter" && !event.shiftKey && !running) { event.preventDefault(); get("form").requestSubmit(); }
};
get("reset").onclick = () => { running?.abort(); messages = []; get("log").textContent = ""; get("speed").textContent = ""; };
</script></body></html>
)html";
}

}  // namespace pomona::server
