"""The pages of plan, verify and compress in a browser without a window: the first paint, the script's end, errors, and a screenshot.

Without a browser the pages are still made and their size and form are looked at."""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnx
from onnx import TensorProto, helper

pomona = os.environ["POMONA_BINARY"]
browser = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
keep = os.environ.get("POMONA_SCREENSHOTS", os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "build", "artifacts"))
os.makedirs(keep, exist_ok=True)


def pomona_json(*arguments, statuses=(0,)):
    done = subprocess.run([pomona, *arguments, "--json"], capture_output=True, text=True)
    assert done.returncode in statuses, done.stderr + done.stdout
    return json.loads(done.stdout)


def model(path, layers, width):
    random = np.random.default_rng(0)
    nodes, weights, last = [], [], "x"
    for i in range(layers):
        weight = random.normal(0, width ** -0.5, (width, width)).astype(np.float32)
        weights.append(onnx.numpy_helper.from_array(weight, f"w{i}"))
        nodes += [helper.make_node("MatMul", [last, f"w{i}"], [f"m{i}"]), helper.make_node("Tanh", [f"m{i}"], [f"t{i}"])]
        last = f"t{i}"
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, width])],
                              [helper.make_tensor_value_info(last, TensorProto.FLOAT, [1, width])], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)


def deep(path, operations):
    """Many small operations that nothing folds away."""
    nodes, last = [], "x"
    for i in range(operations // 2):
        nodes += [helper.make_node("Sin", [last], [f"s{i}"]), helper.make_node("Add", [f"s{i}", "x"], [f"a{i}"])]
        last = f"a{i}"
    border = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 8]) for n in ("x", last)]
    graph = helper.make_graph(nodes, "g", border[:1], border[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)


def looked_at(page, folder):
    """Opens the page; returns what the browser has of it when its script is done."""
    html = open(page, encoding="utf-8").read()
    assert len(html) < 5_000_000, len(html)
    assert not re.search(r"(src|href)\s*=|https?://", html), "the page asks for something else"
    if not browser:
        return html
    base = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", f"--user-data-dir={folder}/profile"]
    shot = os.path.join(keep, os.path.basename(page) + ".png")

    def wall(path, *options):
        started = time.monotonic()
        done = subprocess.run([*base, *options, f"file://{path}"], check=True, capture_output=True, text=True, timeout=120)
        return time.monotonic() - started, done.stdout

    def least(path, *options):
        return min((wall(path, *options) for _ in range(3)), key=lambda pair: pair[0])

    # A page without a window is painted once, for the picture; an empty page tells what the browser itself takes.
    empty = os.path.join(folder, "empty.html")
    open(empty, "w", encoding="utf-8").write("<!doctype html><title>x</title><p>x")
    picture = ["--window-size=1200,1500", f"--screenshot={shot}"]
    bare = least(empty, *picture)[0]
    paint = least(page, *picture)[0] - bare
    assert os.path.getsize(shot) > 5000
    # Ten searches, each of which fills the list and draws the graph again, against none.
    searched = os.path.join(folder, "searched.html")
    typing = ("<script>for (const q of ['a1', 'a12', 'sin', 'x', 'gpu', 'a99', '', 'cpu', 'a5', '1']) {"
              "const s = document.getElementById('search'); s.value = q; s.dispatchEvent(new Event('input')); }"
              "document.body.dataset.searched = 1;</script>")
    open(searched, "w", encoding="utf-8").write(html.replace("</body>", typing + "</body>"))
    plain, dump = least(page, "--dump-dom")
    typed, after = least(searched, "--dump-dom")
    assert 'data-ready="1"' in dump, "the page's script did not come to its end"
    assert 'data-searched="1"' in after, "search fails"
    print(f"{os.path.basename(page)}: {len(html)} bytes; painted {paint:.2f} s after an empty page; a search {(typed - plain) / 10:.3f} s")
    assert paint <= 1, paint
    assert typed - plain <= 2, typed - plain
    return dump


# What a hand on the keyboard does: each step notes what it changed. The page is as wide as a phone's.
KEYS = """<script>{
const note = {}, key = (id, k) => (id ? document.getElementById(id) : document).dispatchEvent(new KeyboardEvent('keydown', { key: k, bubbles: true }));
const detail = document.getElementById('detail');
if (detail) {
  key('graph', 'ArrowDown'); const first = detail.textContent; key('graph', 'j'); note.steps = first !== detail.textContent;
  key('graph', 'PageDown'); key('graph', 'k'); note.chosen = document.querySelectorAll('.item.chosen').length === 1;
  const before = row; key('graph', '+'); note.zoom = row > before; key('graph', '-');
  const span = tz; key('time', '+'); note.time = tz > span; const left = t0; key('time', 'ArrowRight'); note.moves = t0 >= left; key('time', '-');
  const s = document.getElementById('search'); s.value = 'Neural Engine'; s.dispatchEvent(new Event('input'));
  note.found = shown.length > 0 && shown.length < ops.length; s.value = ''; s.dispatchEvent(new Event('input'));
  note.cited = !data.rules.length || document.querySelectorAll('#rules a, #detail a').length > 0;
} else {
  key('bars', 'ArrowRight'); const first = document.getElementById('bar-text').textContent; key('bars', 'ArrowRight');
  note.steps = first !== document.getElementById('bar-text').textContent;
  const before = zoom; key('bars', '+'); note.zoom = zoom > before || bars.length <= 4; key('bars', '-');
}
key('', '/'); note.slash = document.activeElement === document.getElementById('search');
note.fits = document.documentElement.scrollWidth <= window.innerWidth;
note.tabs = document.querySelectorAll('canvas:not([tabindex])').length === 0;
document.body.dataset.note = JSON.stringify(note);
}</script>"""


def by_keyboard(page, folder):
    """A phone's width, light and dark, everything done by keys; pictures of both are kept."""
    if not browser:
        return
    html = open(page, encoding="utf-8").read()
    path, name = os.path.join(folder, "keys.html"), os.path.basename(page)
    open(path, "w", encoding="utf-8").write(html.replace("</body>", KEYS + "</body>"))
    base = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", f"--user-data-dir={folder}/profile", "--window-size=500,1000"]
    done = subprocess.run([*base, "--dump-dom", f"file://{path}"], check=True, capture_output=True, text=True, timeout=120)
    note = json.loads(re.search(r'data-note="([^"]*)"', done.stdout).group(1).replace("&quot;", '"'))
    assert all(note.values()), (name, note)
    pictures = []
    for look, setting in (("phone", []), ("dark", ["--blink-settings=preferredColorScheme=0"])):
        shot = os.path.join(keep, f"{name}.{look}.png")
        subprocess.run([*base, *setting, f"--screenshot={shot}", f"file://{page}"], check=True, capture_output=True, timeout=120)
        pictures.append(open(shot, "rb").read())
    assert pictures[0] != pictures[1], f"{name} looks the same in the dark"


with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
    at = lambda name: os.path.join(folder, name)
    model(at("small.onnx"), 6, 128)
    pomona_json("convert", at("small.onnx"), "-o", at("small.mlpackage"))
    pomona_json("compress", at("small.mlpackage"), "-o", at("small4.mlpackage"), "--scheme", "lut4", "--html", at("compress.html"))
    assert "lut" in looked_at(at("compress.html"), folder)
    by_keyboard(at("compress.html"), folder)
    found = pomona_json("verify", at("small4.mlpackage"), "--against", at("small.mlpackage"), "--bisect", "--html", at("verify.html"), statuses=(0, 1))
    assert found["html"] == at("verify.html")
    assert "cosine" in looked_at(at("verify.html"), folder)
    by_keyboard(at("verify.html"), folder)
    again = subprocess.run([pomona, "verify", at("small4.mlpackage"), "--against", at("small.mlpackage"), "--html", at("verify.html")], capture_output=True, text=True)
    assert again.returncode not in (0, 1) or "exists" in again.stderr, "an existing page is not replaced without --force"

    # The plan of the processor is what the runtime measures, to the byte.
    plan = pomona_json("plan", at("small.mlpackage"), "--units", "cpu")
    bench = pomona_json("bench", at("small.mlpackage"), "--iterations", "1")
    assert plan["chips"][0]["memory"]["activations"] == bench["working_bytes"], (plan["chips"][0]["memory"], bench["working_bytes"])
    wrong = subprocess.run([pomona, "plan", at("small.mlpackage"), "--size", "nobody=3"], capture_output=True, text=True)
    assert wrong.returncode != 0 and "nobody" in wrong.stderr, wrong.stderr

    deep(at("deep.onnx"), 10000)
    pomona_json("convert", at("deep.onnx"), "-o", at("deep.mlpackage"), "--no-verify")
    started = time.time()
    pomona_json("plan", at("deep.mlpackage"), "--html", at("plan.html"))
    print("plan of 10,000 operations:", round(time.time() - started, 2), "s with reading and writing")
    looked_at(at("plan.html"), folder)
    by_keyboard(at("plan.html"), folder)
sys.exit(0)
