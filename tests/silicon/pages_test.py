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
keep = os.environ.get("POMONA_SCREENSHOTS")


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
    # What the browser measures itself is put into the page behind it, where the dump shows it.
    probe = ("<script>new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r))).then(() => {"
             "const p = performance.getEntriesByType('paint')[0];"
             "const started = performance.now(); const s = document.getElementById('search');"
             "s.value = 'a99'; s.dispatchEvent(new Event('input'));"
             "document.body.dataset.search = performance.now() - started;"
             "document.body.dataset.paint = p ? p.startTime : -1; });</script>")
    probed = os.path.join(folder, "probed.html")
    open(probed, "w", encoding="utf-8").write(html.replace("</body>", probe + "</body>"))
    base = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", f"--user-data-dir={folder}/profile"]
    shot = os.path.join(keep or folder, os.path.basename(page) + ".png")
    subprocess.run([*base, "--window-size=1200,1500", "--virtual-time-budget=3000", f"--screenshot={shot}", f"file://{page}"], check=True, capture_output=True, timeout=120)
    assert os.path.getsize(shot) > 5000
    dump = subprocess.run([*base, "--virtual-time-budget=3000", "--dump-dom", f"file://{probed}"], check=True, capture_output=True, text=True, timeout=120).stdout
    assert 'data-ready="1"' in dump, "the page's script did not come to its end"
    paint, search = (float(m.group(1)) if (m := re.search(f'data-{what}="([-0-9.]+)"', dump)) else None for what in ("paint", "search"))
    print(os.path.basename(page), len(html), "bytes; first paint", paint, "ms; search", search, "ms")
    assert search is not None and search < 200
    return dump


with tempfile.TemporaryDirectory() as folder:
    at = lambda name: os.path.join(folder, name)
    model(at("small.onnx"), 6, 128)
    pomona_json("convert", at("small.onnx"), "-o", at("small.mlpackage"))
    pomona_json("compress", at("small.mlpackage"), "-o", at("small4.mlpackage"), "--scheme", "lut4", "--html", at("compress.html"))
    assert "lut" in looked_at(at("compress.html"), folder)
    found = pomona_json("verify", at("small4.mlpackage"), "--against", at("small.mlpackage"), "--bisect", "--html", at("verify.html"), statuses=(0, 1))
    assert found["html"] == at("verify.html")
    assert "cosine" in looked_at(at("verify.html"), folder)
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
sys.exit(0)
