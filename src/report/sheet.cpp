#include "report/sheet.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "report/page.h"

namespace pomona::report {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view body = R"html(
<header><h1 id="title"></h1><p class="soft" id="note"></p></header>
<div class="row card" id="totals"></div>
<section id="bars-part"><h2 id="bars-title"></h2>
<canvas id="bars" height="240" tabindex="0" role="img" aria-label="bars, one for each row; left and right arrow keys step, plus and minus zoom"></canvas>
<div id="bar-text" class="card" aria-live="polite" style="margin-top:.4rem">point at a bar, or step with the arrow keys</div></section>
<section id="points-part"><h2 id="points-title"></h2>
<canvas id="points" height="300" tabindex="0" role="img" aria-label="points; the best ones are joined by a line"></canvas>
<div id="point-text" class="soft" aria-live="polite"></div></section>
<h2 id="table-title"></h2>
<input type="search" id="search" placeholder="search (press /)" aria-label="search the table">
<p class="soft" id="hits"></p><div class="scroll"><table id="rows"></table></div><button id="more">more rows</button>
)html";

constexpr std::string_view script = R"js(
const $ = id => document.getElementById(id);
const colour = k => getComputedStyle(document.documentElement).getPropertyValue('--' + k).trim();
const text = (tag, s, cls) => { const e = document.createElement(tag); e.textContent = s; if (cls) e.className = cls; return e; };
$('title').textContent = data.title; $('note').textContent = data.note; document.title = data.title;
for (const [label, value, bad] of data.totals) { const s = text('span', label + ' '); s.append(text('b', value, 'number' + (bad ? ' cpu' : ''))); $('totals').append(s); }
function canvas(id) { const c = $(id), r = window.devicePixelRatio || 1, w = c.clientWidth, h = +c.getAttribute('height'); c.style.height = h + 'px';
  c.width = Math.round(w * r); c.height = Math.round(h * r); const g = c.getContext('2d'); g.setTransform(r, 0, 0, r, 0, 0); g.font = '12px system-ui'; return [g, w, h]; }
// A logarithmic scale over the values above 0.
function scale(values, low, high) { const v = values.filter(x => x > 0 && isFinite(x)).map(Math.log10); if (!v.length) return [() => low, []];
  let a = Math.floor(Math.min(...v)), b = Math.ceil(Math.max(...v)); if (a === b) b = a + 1;
  const ticks = []; for (let t = a; t <= b; t += Math.max(1, Math.ceil((b - a) / 6))) ticks.push(t);
  return [x => x > 0 ? low + (Math.log10(x) - a) / (b - a) * (high - low) : low, ticks]; }

let first = 0, zoom = 1, chosen = -1; const bars = data.bars;
$('bars-part').hidden = !bars.length; $('bars-title').textContent = data.bars_title;
function drawBars() { if (!bars.length) return; const [g, w, h] = canvas('bars'), left = 46, n = bars.length / zoom, step = (w - left) / n; const [y, ticks] = scale(bars.map(b => b[1]), h - 16, 10);
  g.strokeStyle = colour('line'); g.fillStyle = colour('soft'); for (const t of ticks) { const at = y(10 ** t); g.beginPath(); g.moveTo(left, at); g.lineTo(w, at); g.stroke(); g.fillText('1e' + t, 4, at + 4); }
  for (let i = Math.max(0, Math.floor(first)); i < Math.min(bars.length, first + n); ++i) { const x = left + (i - first) * step, top = y(bars[i][1]); g.fillStyle = colour(i === chosen ? 'focus' : bars[i][3] ? 'cpu' : 'gpu'); g.fillRect(x, top, Math.max(1, step - (step > 3 ? 1 : 0)), h - 16 - top + (i === chosen ? 4 : 0)); }
  g.fillStyle = colour('soft'); g.fillText(bars.length + ' rows, in the order of the program', left, h - 2); }
function pick(i) { chosen = Math.max(0, Math.min(bars.length - 1, i)); const n = bars.length / zoom; if (chosen < first) first = chosen; if (chosen >= first + n) first = chosen - n + 1; $('bar-text').textContent = bars[chosen][0] + ': ' + bars[chosen][2]; drawBars(); }
function zoomBars(f, at) { const n = bars.length / zoom, centre = first + n * at; zoom = Math.max(1, Math.min(zoom * f, bars.length / 4)); first = Math.max(0, Math.min(centre - bars.length / zoom * at, bars.length - bars.length / zoom)); drawBars(); }
$('bars').onpointermove = e => { const n = bars.length / zoom; pick(Math.floor(first + (e.offsetX - 46) / ($('bars').clientWidth - 46) * n)); };
$('bars').onwheel = e => { e.preventDefault(); zoomBars(e.deltaY < 0 ? 1.25 : 0.8, Math.max(0, (e.offsetX - 46) / ($('bars').clientWidth - 46))); };
$('bars').onkeydown = e => { const s = { ArrowRight: 1, ArrowLeft: -1, PageDown: 20, PageUp: -20 }[e.key]; if (s) { pick(chosen + s); e.preventDefault(); } if (e.key === '+') zoomBars(1.5, 0.5); if (e.key === '-') zoomBars(0.67, 0.5); };

const points = data.points; let near = -1; $('points-part').hidden = !points.length; $('points-title').textContent = data.points_title;
function place(w, h) { const xs = points.map(p => p[0]), a = Math.min(...xs), b = Math.max(...xs), [y, ticks] = scale(points.map(p => p[1]), h - 34, 12); return [x => 54 + (b > a ? (x - a) / (b - a) : 0.5) * (w - 80), y, ticks, a, b]; }
function drawPoints() { if (!points.length) return; const [g, w, h] = canvas('points'), [x, y, ticks, a, b] = place(w, h);
  g.strokeStyle = colour('line'); g.fillStyle = colour('soft'); for (const t of ticks) { const at = y(10 ** t); g.beginPath(); g.moveTo(50, at); g.lineTo(w, at); g.stroke(); g.fillText('1e' + t, 4, at + 4); }
  g.fillText(a.toPrecision(3), 50, h - 18); const end = b.toPrecision(3); g.fillText(end, w - g.measureText(end).width - 6, h - 18); g.fillText(data.x_label + ' across, ' + data.y_label + ' upwards', 50, h - 3);
  const best = points.filter(p => p[3]).sort((p, q) => p[0] - q[0]); g.strokeStyle = colour('ane'); g.lineWidth = 2; g.beginPath(); best.forEach((p, i) => i ? g.lineTo(x(p[0]), y(p[1])) : g.moveTo(x(p[0]), y(p[1]))); g.stroke();
  points.forEach((p, i) => { g.fillStyle = colour(i === near ? 'focus' : p[3] ? 'ane' : 'gpu'); g.beginPath(); g.arc(x(p[0]), y(p[1]), i === near ? 6 : 4, 0, 7); g.fill(); }); }
function show(i) { near = i; $('point-text').textContent = i < 0 ? '' : points[i][2]; drawPoints(); }
$('points').onpointermove = e => { const [x, y] = place($('points').clientWidth, 300); let found = -1, least = 400; points.forEach((p, i) => { const d = (x(p[0]) - e.offsetX) ** 2 + (y(p[1]) - e.offsetY) ** 2; if (d < least) { least = d; found = i; } }); show(found); };
$('points').onkeydown = e => { const s = { ArrowRight: 1, ArrowLeft: -1 }[e.key]; if (s) { show((near + s + points.length) % points.length); e.preventDefault(); } };

$('table-title').textContent = data.table_title; let limit = 200;
function fill() { const q = $('search').value.trim().toLowerCase(), found = q ? data.rows.filter(r => r.join(' ').toLowerCase().includes(q)) : data.rows, t = $('rows'); t.textContent = '';
  const head = text('tr', ''); for (const c of data.columns) head.append(text('th', c)); t.append(head);
  for (const r of found.slice(0, limit)) { const line = text('tr', ''); for (const c of r) line.append(text('td', c)); t.append(line); }
  $('hits').textContent = found.length + ' of ' + data.rows.length + ' rows'; $('more').hidden = found.length <= limit; }
$('search').oninput = () => { limit = 200; fill(); }; $('more').onclick = () => { limit += 1000; fill(); };
document.onkeydown = e => { if (e.key === '/' && document.activeElement !== $('search')) { $('search').focus(); e.preventDefault(); } };
function all() { drawBars(); drawPoints(); } window.onresize = all; matchMedia('(prefers-color-scheme: dark)').onchange = all; fill(); all(); document.body.dataset.ready = '1';
)js";

}  // namespace

void mark_best(std::vector<SheetPoint>& points) {
  std::vector<SheetPoint*> sorted;
  for (SheetPoint& point : points) sorted.push_back(&point);
  std::sort(sorted.begin(), sorted.end(),
            [](const SheetPoint* a, const SheetPoint* b) { return std::pair(a->x, a->y) < std::pair(b->x, b->y); });
  double least = std::numeric_limits<double>::infinity();
  for (SheetPoint* point : sorted) {
    point->best = point->y < least;
    least = std::min(least, point->y);
  }
}

std::string sheet_page(const Sheet& sheet) {
  Json data{{"title", sheet.title},
            {"note", sheet.note},
            {"bars_title", sheet.bars_title},
            {"points_title", sheet.points_title},
            {"x_label", sheet.x_label},
            {"y_label", sheet.y_label},
            {"table_title", sheet.table_title},
            {"columns", sheet.columns},
            {"rows", sheet.rows},
            {"totals", Json::array()},
            {"bars", Json::array()},
            {"points", Json::array()}};
  for (const SheetTotal& t : sheet.totals) data["totals"].push_back({t.label, t.value, t.bad});
  for (const SheetBar& b : sheet.bars) data["bars"].push_back({b.label, b.value, b.text, b.bad});
  for (const SheetPoint& p : sheet.points) data["points"].push_back({p.x, p.y, p.label, p.best});
  return page(sheet.title, body, script, data.dump(-1, ' ', false, Json::error_handler_t::replace));
}

}  // namespace pomona::report
