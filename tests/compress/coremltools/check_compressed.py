"""Compares packages compressed here with the same ones compressed by coremltools:

    python check_compressed.py DIR

DIR/SOURCE.mlpackage are the originals, DIR/theirs and DIR/ours hold SOURCE.CASE.mlpackage, and DIR/plain what our decompression made
of ours. Each of ours must load, its weights as coremltools decodes them must equal those of DIR/plain bit for bit, and no weight may be
further from the original than in theirs.
"""

import json
import logging
import pathlib
import sys

import numpy as np

logging.disable(logging.WARNING)
import coremltools as ct
import coremltools.optimize.coreml as cto


CASES = {case["name"]: case for case in json.loads((pathlib.Path(__file__).resolve().parent / "cases.json").read_text())}


def load(path):
    return ct.models.MLModel(str(path), skip_model_load=True)


def weights(model):
    """Constants by name; coremltools adds how it compressed a weight to the name."""
    found = {}
    for name, metadata in cto.get_weights_metadata(model, weight_threshold=1000).items():
        for ending in ("_pcs", "_quantized", "_palettized", "_sparsified"):
            name = name.removesuffix(ending)
        found[name] = metadata.val
    return found


def squared_error(value, original):
    return float(np.sum((value.astype(np.float64) - original.astype(np.float64)) ** 2))


def check(folder, path, originals):
    source, case = path.stem.split(".")
    ours = load(path)
    decoded = weights(cto.decompress_weights(ours))
    plain = weights(load(folder / "plain" / path.name))
    theirs = weights(cto.decompress_weights(load(folder / "theirs" / path.name)))
    faults, changed, sums = [], 0, [0.0, 0.0]
    # No known way to the best table of vectors: single weights may be a little worse, not all of them together.
    allowed = 1.01 if CASES[case].get("loose") else 1 + 1e-9
    for name, original in originals[source].items():
        # Where scales are 1, two decoded constants are equal and coremltools keeps one of them, under either name.
        if name not in decoded and name in plain:
            decoded[name] = next((v for v in decoded.values() if v.tobytes() == plain[name].tobytes()), None)
        if decoded.get(name) is None or name not in plain or name not in theirs:
            faults.append(f"{name} is missing")
            continue
        value = decoded[name]
        if value.dtype != plain[name].dtype or value.tobytes() != plain[name].tobytes():
            faults.append(f"{name} decodes differently")
        changed += not np.array_equal(value, original)
        mine, other = squared_error(value, original), squared_error(theirs[name], original)
        sums = [sums[0] + mine, sums[1] + other]
        # Sums of fp16 values in another order; nothing else may be worse.
        if mine > other * allowed:
            faults.append(f"{name}: squared error {mine:.6g}, coremltools {other:.6g}")
    if sums[0] > sums[1] * (1 + 1e-9):
        faults.append(f"squared error {sums[0]:.6g} in sum, coremltools {sums[1]:.6g}")
    # Seven weights are large enough (structure is for those of conv and linear only), and one of few levels may survive unchanged.
    if case != "lut_unique" and changed < (3 if CASES[case].get("few") or source == "flat" else 7):
        faults.append(f"only {changed} weights have changed")
    return [f"{path.stem}: {fault}" for fault in faults]


def main(folder):
    originals = {path.stem: weights(load(path)) for path in folder.glob("*.mlpackage")}
    faults, count = [], 0
    for path in sorted((folder / "ours").glob("*.mlpackage")):
        faults += check(folder, path, originals)
        count += 1
    if count != len(list((folder / "theirs").glob("*.mlpackage"))) or count < 30:
        faults.append(f"only {count} packages were compared")
    print("\n".join(faults) or f"{count} packages agree")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1])))
