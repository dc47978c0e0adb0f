#include "report/plan_page.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <unordered_map>

#include "ir/op.h"
#include "report/page.h"

namespace pomona::report {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view body = R"html(
<header><h1 id="title"></h1><p class="soft">A prediction: nothing here was measured on a Mac.</p></header>
<div class="row card" id="totals"></div>
<h2>Segments in time</h2>
<canvas id="time" height="70" tabindex="0" role="img" aria-label="timeline of segments; arrow keys move, plus and minus zoom"></canvas>
<h2>Operations</h2>
<input type="search" id="search" placeholder="search names, operations, engines, rules (press /)" aria-label="search">
<div class="row soft" style="margin:.4rem 0"><span id="hits"></span><button id="out" aria-label="zoom out">&minus;</button>
<button id="in" aria-label="zoom in">+</button><span>arrow keys move, + and &minus; zoom, j and k step</span></div>
<div class="two"><canvas id="graph" height="420" tabindex="0" role="img" aria-label="graph of operations, coloured by engine"></canvas>
<div id="list" tabindex="0" role="listbox" aria-label="operations"></div></div>
<h2>Chosen operation</h2><div id="detail" class="card" aria-live="polite">none yet: choose one in the graph or the list</div>
<h2>What breaks segments of the Neural Engine</h2><div class="scroll"><table id="breaks"></table></div>
<h2>Rules that spoke</h2><div class="scroll"><table id="rules"></table></div>
)html";

constexpr std::string_view script = R"js(
const $ = id => document.getElementById(id), kinds = ['ane', 'gpu', 'cpu'], engines = ['Neural Engine', 'GPU', 'CPU'];
const colour = k => getComputedStyle(document.documentElement).getPropertyValue('--' + k).trim();
const ops = data.ops.map((o, i) => ({ i, name: o[0], op: data.words[o[1]], e: o[2], t: o[3], w: o[4], a: o[5], rules: o[6], from: o[7], v: o[8] }));
const text = (tag, s, cls) => { const e = document.createElement(tag); e.textContent = s; if (cls) e.className = cls; return e; };
const ms = s => s * 1e3 < 0.01 ? (s * 1e6).toFixed(2) + ' µs' : (s * 1e3).toPrecision(3) + ' ms';
const size = b => b < 1e3 ? b + ' B' : b < 1e6 ? (b / 1e3).toFixed(1) + ' kB' : b < 1e9 ? (b / 1e6).toFixed(1) + ' MB' : (b / 1e9).toFixed(2) + ' GB';
$('title').textContent = data.title; document.title = data.title;
for (const [label, value, cls] of data.totals) { const s = text('span', label + ' '); s.append(text('b', value, 'number ' + (cls || ''))); $('totals').append(s); }

let chosen = -1, shown = ops, match = null;
function canvas(id) { const c = $(id), r = window.devicePixelRatio || 1, w = c.clientWidth, h = +c.getAttribute('height'); c.style.height = h + 'px';
  if (c.width !== Math.round(w * r) || c.height !== Math.round(h * r)) { c.width = Math.round(w * r); c.height = Math.round(h * r); }
  const g = c.getContext('2d'); g.setTransform(r, 0, 0, r, 0, 0); g.clearRect(0, 0, w, h); return [g, w, h]; }

// Timeline: seconds from `t0`, `scale` pixels per second.
const total = data.segments.reduce((s, x) => s + x[2], 0) || 1; let t0 = 0, tz = 1;
function drawTime() { const [g, w, h] = canvas('time'), k = w / total * tz; let at = 0; g.font = '12px system-ui';
  for (const [e, , sec, count] of data.segments) { const x = (at - t0) * k, d = sec * k; at += sec; if (x + d < 0 || x > w) continue;
    g.fillStyle = colour(kinds[e]); g.fillRect(x, 12, Math.max(d - 1, 1), h - 34);
    for (const label of [engines[e] + ', ' + count + ' ops', '' + count]) if (g.measureText(label).width < Math.min(x + d, w) - Math.max(x, 0) - 10) { g.fillStyle = colour('paper'); g.fillText(label, Math.max(x, 0) + 6, 34); break; } }
  g.fillStyle = colour('soft'); g.fillText(ms(t0), 4, h - 6); const end = ms(Math.min(total, t0 + total / tz)); g.fillText(end, w - g.measureText(end).width - 4, h - 6); }
const clampT = () => { t0 = Math.max(0, Math.min(t0, total - total / tz)); };
function zoomT(f, share) { const at = t0 + total / tz * share; tz = Math.max(1, Math.min(tz * f, 1e5)); t0 = at - total / tz * share; clampT(); drawTime(); }

// Graph: a row per operation, a lane per value that is alive.
const lanes = [], lane = new Int32Array(ops.length); { const last = new Int32Array(ops.length).fill(-1);
  for (const o of ops) for (const f of o.from) last[f] = o.i;
  for (const o of ops) { let l = lanes.findIndex(x => x <= o.i); if (l < 0) { l = lanes.length; lanes.push(0); } lane[o.i] = l; lanes[l] = Math.max(last[o.i], o.i + 1); } }
let gy = 0, row = 22;
function drawGraph() { const [g, w, h] = canvas('graph'), first = Math.max(0, Math.floor(gy / row) - 1), end = Math.min(ops.length, Math.ceil((gy + h) / row) + 1);
  const step = Math.max(3, Math.min(26, (w - 40) / Math.max(lanes.length, 1))), X = i => 14 + Math.min(lane[i], 60) * step, Y = i => i * row - gy + row / 2;
  g.strokeStyle = colour('line'); g.lineWidth = 1; g.beginPath();
  for (let i = first; i < end; ++i) for (const f of ops[i].from) { g.moveTo(X(f), Y(f)); g.lineTo(X(f), Y(i) - row / 2); g.lineTo(X(i), Y(i)); }
  g.stroke(); g.font = '12px system-ui';
  for (let i = first; i < end; ++i) { const o = ops[i]; g.globalAlpha = match && !match.has(i) ? 0.25 : 1; g.fillStyle = colour(kinds[o.e]); const r = Math.max(2, Math.min(7, row / 3));
    g.beginPath(); g.arc(X(i), Y(i), r, 0, 7); g.fill(); if (i === chosen) { g.strokeStyle = colour('focus'); g.lineWidth = 2; g.stroke(); }
    if (row >= 12) { g.fillStyle = colour('ink'); g.fillText(o.op + '  ' + o.name, X(i) + r + 6, Y(i) + 4); } }
  g.globalAlpha = 1; }
const clampG = () => { gy = Math.max(0, Math.min(gy, ops.length * row - 420)); };
function zoomG(f, y) { const at = (gy + y) / row; row = Math.max(1, Math.min(40, row * f)); gy = at * row - y; clampG(); drawGraph(); }

// List: only the items in view exist.
const list = $('list'), tall = text('div', ''); list.append(tall);
function drawList() { tall.style.height = shown.length * 26 + 'px'; for (const old of list.querySelectorAll('.item')) old.remove();
  const first = Math.floor(list.scrollTop / 26), end = Math.min(shown.length, first + 20);
  for (let i = first; i < end; ++i) { const o = shown[i], e = text('div', '', 'item' + (o.i === chosen ? ' chosen' : '')); e.style.top = i * 26 + 'px'; e.setAttribute('role', 'option');
    e.append(text('span', '\u25cf ', kinds[o.e]), text('b', o.op + ' '), text('span', o.name + ' '), text('span', ms(o.t), 'soft')); e.onclick = () => choose(o.i); list.append(e); } }
function choose(i) { chosen = Math.max(0, Math.min(ops.length - 1, i)); const o = ops[chosen], d = $('detail'); d.textContent = '';
  const head = text('div', '', 'row'); head.append(text('b', o.op + ' ' + o.name), text('span', engines[o.e], kinds[o.e]), text('span', ms(o.t)), text('span', 'weights ' + size(o.w)), text('span', 'activations ' + size(o.a))); d.append(head);
  d.append(text('div', engines.map((n, e) => n + ': ' + data.verdicts[o.v[e]]).join('; '), 'soft'));
  for (const r of o.rules) d.append(rule(data.rules[r])); if (!o.rules.length) d.append(text('div', 'no rule speaks against any engine', 'soft'));
  const y = chosen * row; if (y < gy || y > gy + 400) { gy = y - 200; clampG(); } drawGraph(); const at = shown.indexOf(o); if (at >= 0 && (at * 26 < list.scrollTop || at * 26 > list.scrollTop + 390)) list.scrollTop = at * 26 - 180; drawList(); }
function rule(r) { const e = text('div', ''); e.append(text('b', r.id + ' '), text('span', r.why + ' '), text('span', '[' + r.verdict + ', confidence ' + r.confidence + '] '), text('span', r.mend ? 'Try: ' + r.mend + '. ' : ''), text('span', 'Source: ', 'soft'), cite(r.source)); return e; }
// Sources with a place of their own are links; the page itself fetches nothing.
const homes = { coremltools: 'apple/coremltools', executorch: 'pytorch/executorch', onnxruntime: 'microsoft/onnxruntime', 'rf-detr': 'roboflow/rf-detr', 'coreai-models': 'apple/coreai-models', 'stablehlo-coreml': 'kasper0406/stablehlo-coreml', 'hollance/neural-engine': 'hollance/neural-engine', 'ml-ane-transformers': 'apple/ml-ane-transformers', 'maderix/ANE': 'maderix/ANE' };
function cite(source) { const e = text('span', '', 'soft'), pattern = new RegExp('(' + Object.keys(homes).join('|') + ')(?: (?:issue|pull request)s? ([0-9]+))?', 'g'); let from = 0;
  for (const m of source.matchAll(pattern)) { e.append(source.slice(from, m.index)); const a = text('a', m[0]); a.setAttribute('href', ['https:', '', 'github.com', homes[m[1]]].concat(m[2] ? ['issues', m[2]] : []).join('/')); a.setAttribute('rel', 'noreferrer'); a.target = '_blank'; e.append(a); from = m.index + m[0].length; }
  e.append(source.slice(from)); return e; }
function search() { const q = $('search').value.trim().toLowerCase(); shown = !q ? ops : ops.filter(o => (o.op + ' ' + o.name + ' ' + engines[o.e] + ' ' + o.rules.map(r => data.rules[r].id).join(' ')).toLowerCase().includes(q));
  match = q ? new Set(shown.map(o => o.i)) : null; $('hits').textContent = shown.length + ' of ' + ops.length + ' operations'; list.scrollTop = 0; drawList(); if (q && shown.length) choose(shown[0].i); else drawGraph(); }
function drag(id, move) { let from = null, moved = false; const c = $(id); c.onpointerdown = e => { from = [e.clientX, e.clientY]; moved = false; c.setPointerCapture(e.pointerId); };
  c.onpointermove = e => { if (!from) return; const dx = e.clientX - from[0], dy = e.clientY - from[1]; if (Math.abs(dx) + Math.abs(dy) > 2) moved = true; from = [e.clientX, e.clientY]; move(dx, dy); };
  c.onpointerup = e => { from = null; if (!moved && id === 'graph') choose(Math.floor((gy + e.offsetY) / row)); }; }
drag('time', dx => { t0 -= dx / $('time').clientWidth * total / tz; clampT(); drawTime(); }); drag('graph', (dx, dy) => { gy -= dy; clampG(); drawGraph(); });
$('time').onwheel = e => { e.preventDefault(); zoomT(e.deltaY < 0 ? 1.25 : 0.8, e.offsetX / $('time').clientWidth); };
$('graph').onwheel = e => { e.preventDefault(); if (e.ctrlKey || e.metaKey) zoomG(e.deltaY < 0 ? 1.2 : 0.83, e.offsetY); else { gy += e.deltaY; clampG(); drawGraph(); } };
$('time').onkeydown = e => { const s = { ArrowLeft: -0.1, ArrowRight: 0.1 }[e.key]; if (s) { t0 += s * total / tz; clampT(); drawTime(); e.preventDefault(); } if (e.key === '+') zoomT(1.5, 0.5); if (e.key === '-') zoomT(0.67, 0.5); };
$('graph').onkeydown = $('list').onkeydown = e => { const s = { ArrowDown: 1, ArrowUp: -1, j: 1, k: -1, PageDown: 15, PageUp: -15 }[e.key]; if (s) { choose(chosen + s); e.preventDefault(); } if (e.key === '+') zoomG(1.3, 200); if (e.key === '-') zoomG(0.77, 200); };
document.onkeydown = e => { if (e.key === '/' && document.activeElement !== $('search')) { $('search').focus(); e.preventDefault(); } };
$('in').onclick = () => zoomG(1.3, 200); $('out').onclick = () => zoomG(0.77, 200); $('search').oninput = search; list.onscroll = drawList;
function fill(id, head, rows) { const t = $(id); const tr = text('tr', ''); for (const h of head) tr.append(text('th', h)); t.append(tr); for (const r of rows) { const line = text('tr', ''); for (const c of r) { const cell = text('td', ''); cell.append(c); line.append(cell); } t.append(line); } }
fill('breaks', ['operation', 'how many', 'cost', 'why', 'what would mend it'], data.breaks.map(b => [b[0], '' + b[1], ms(b[2]), b[3] < 0 ? 'it is cheaper elsewhere' : data.rules[b[3]].why, b[3] < 0 ? '' : data.rules[b[3]].mend]));
const counts = new Map(); for (const o of ops) for (const r of o.rules) counts.set(r, (counts.get(r) || 0) + 1);
fill('rules', ['rule', 'ops', 'verdict', 'why', 'try', 'source'], [...counts].sort((a, b) => b[1] - a[1]).map(([r, n]) => { const x = data.rules[r]; return [x.id, '' + n, x.engine + ': ' + x.verdict + ' (' + x.confidence + ')', x.why, x.mend, cite(x.source)]; }));
function all() { drawTime(); drawGraph(); drawList(); } window.onresize = all; matchMedia('(prefers-color-scheme: dark)').onchange = all; search(); all(); document.body.dataset.ready = '1';
)js";

// Positions in a list without repetitions.
class Words {
 public:
  std::size_t operator()(std::string_view word) {
    auto [at, fresh] = places_.emplace(std::string(word), places_.size());
    if (fresh) words_.push_back(word);
    return at->second;
  }
  const Json& all() const { return words_; }

 private:
  std::unordered_map<std::string, std::size_t> places_;
  Json words_ = Json::array();
};

class RuleList {
 public:
  std::size_t operator()(const silicon::PlacementRule* rule) {
    auto [at, fresh] = places_.emplace(rule, places_.size());
    if (fresh) rules_.push_back(rule_json(*rule));
    return at->second;
  }
  const Json& all() const { return rules_; }

 private:
  std::unordered_map<const silicon::PlacementRule*, std::size_t> places_;
  Json rules_ = Json::array();
};

std::string megabytes(std::uint64_t bytes) { return fmt::format("{:.1f} MB", double(bytes) / 1e6); }

Json totals_of(const silicon::Placement& p, const std::string& chip) {
  using enum silicon::Engine;
  return {
      {"chip", chip},
      {"time", fmt::format("{:.3g} ms ({:.3g} to {:.3g})", p.seconds * 1e3, p.low_seconds * 1e3, p.high_seconds * 1e3)},
      {"Neural Engine", std::to_string(p.count(ane)), "ane"},
      {"GPU", std::to_string(p.count(gpu)), "gpu"},
      {"CPU", std::to_string(p.count(cpu)), "cpu"},
      {"segments", std::to_string(p.segments.size())},
      {"weights", megabytes(p.memory.weights)},
      {"activations", megabytes(p.memory.activations)},
      {"states", megabytes(p.memory.states)}};
}

}  // namespace

Json rule_json(const silicon::PlacementRule& rule) {
  return {{"id", rule.id},
          {"engine", silicon::name(rule.engine)},
          {"verdict", silicon::name(rule.verdict)},
          {"confidence", std::string(1, rule.confidence)},
          {"why", rule.why},
          {"mend", silicon::mend_text(rule)},
          {"mended_by_convert", rule.mended_by_convert},
          {"source", rule.source}};
}

std::string plan_page(const std::string& title, const silicon::Placement& placement, const std::string& chip) {
  Words words;
  RuleList rules;
  Json data{{"title", title},
            {"totals", totals_of(placement, chip)},
            {"verdicts", {"can", "prefers another form", "only rewritten", "unlikely", "cannot"}}};
  std::unordered_map<const Node*, std::size_t> place;
  Json ops = Json::array();
  for (std::size_t i = 0; i < placement.ops.size(); ++i) {
    const silicon::OpPlacement& op = placement.ops[i];
    place[op.node] = i;
    Json fired = Json::array(), from = Json::array();
    for (const auto* rule : op.rules) fired.push_back(rules(rule));
    for (Value input : op.node->inputs())
      if (auto found = place.find(input.producer()); input.producer() && found != place.end())
        from.push_back(found->second);
    ops.push_back({op.node->output_count() ? op.node->output().name() : op.node->name,
                   words(op.node->op->name),
                   std::size_t(op.engine),
                   op.seconds,
                   op.weight_bytes,
                   op.activation_bytes,
                   fired,
                   from,
                   {std::size_t(op.verdicts[0]), std::size_t(op.verdicts[1]), std::size_t(op.verdicts[2])}});
  }
  data["ops"] = std::move(ops);
  data["segments"] = Json::array();
  for (const auto& s : placement.segments)
    data["segments"].push_back({std::size_t(s.engine), s.begin, s.seconds, s.end - s.begin});
  data["breaks"] = Json::array();
  for (const auto& b : placement.breaks)
    data["breaks"].push_back({b.op->node->label(), b.count, b.seconds, b.rule ? std::int64_t(rules(b.rule)) : -1});
  data["rules"] = rules.all();
  data["words"] = words.all();
  return page(title, body, script, data.dump(-1, ' ', false, Json::error_handler_t::replace));
}

}  // namespace pomona::report
