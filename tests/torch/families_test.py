"""Tiny checkpoints of every family, written by transformers, run from their files: logits of a prompt and of tokens after it, through the
state, against transformers' own; and converted for both engines, each package checked as `convert` checks it.

Wants torch and transformers; without them it is skipped.
"""
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

BINARY = os.environ.get("POMONA_BINARY", "build/release/pomona")
SOURCE = pathlib.Path(os.environ.get("POMONA_SOURCE", "."))
PROMPT, STEPS = 10, 20

for needed in ("torch", "transformers", "safetensors", "numpy"):
    if importlib.util.find_spec(needed) is None:
        print(f"skipped: there is no {needed}")
        sys.exit(0)

import numpy as np

spec = importlib.util.spec_from_file_location("families_vectors", SOURCE / "tests/llm/families_vectors.py")
vectors = importlib.util.module_from_spec(spec)
spec.loader.exec_module(vectors)
torch, transformers = vectors.torch, vectors.transformers
ENCODERS = ("bert", "distilbert", "roberta")
FEW_STEPS = 4  # single tokens by separate runs of the program


def pomona(*arguments):
    done = subprocess.run([BINARY, *map(str, arguments)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{arguments}: {done.stderr}"
    return done.stdout


def cosine(a, b):
    a, b = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


class Families(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.path = pathlib.Path(cls.folder.name)
        torch.set_num_threads(1)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def model(self, name):
        kind, config = vectors.CASES[name]
        cls = getattr(transformers, kind)
        torch.manual_seed(3)
        model = cls(cls.config_class(**config)).eval()
        with torch.no_grad():  # as initialised, attention is nearly even and says little
            for parameter in model.parameters():
                parameter.mul_(4 if parameter.dim() > 1 else 1).add_(torch.randn_like(parameter) * 0.05)
        model.save_pretrained(self.path / name)
        return model

    def test_decoders(self):
        for name in vectors.CASES:
            if name in ENCODERS:
                continue
            with self.subTest(name):
                model = self.model(name)
                tokens = np.random.RandomState(1).randint(0, 24, PROMPT + STEPS)
                with torch.no_grad():
                    expected = model(input_ids=torch.tensor(tokens)[None]).logits[0].numpy()
                state = self.path / "state.npz"
                state.unlink(missing_ok=True)
                for at in [0, *range(PROMPT, PROMPT + FEW_STEPS)]:
                    count = PROMPT if at == 0 else 1
                    inputs, outputs = self.path / "in.npz", self.path / "out.npz"
                    np.savez(inputs, input_ids=tokens[None, at:at + count].astype(np.int32), position=np.array([at], np.int32),
                             last=np.array([count - 1], np.int32))
                    before = ["--state-in", state] if at else []
                    pomona("run", self.path / name, "--inputs", inputs, "--outputs", outputs, "--state-out", state, "--force", *before)
                    logits, right = np.load(outputs)["logits"][0, 0], expected[at + count - 1]
                    self.assertGreaterEqual(cosine(logits, right), 0.99999)
                    self.assertEqual(int(logits.argmax()), int(right.argmax()))

    def test_encoders(self):
        for name in ENCODERS:
            with self.subTest(name):
                model = self.model(name)
                ids = np.random.RandomState(2).randint(3, 24, (2, 12))
                mask = np.ones_like(ids)
                mask[1, 8:] = 0
                with torch.no_grad():
                    expected = model(input_ids=torch.tensor(ids), attention_mask=torch.tensor(mask)).last_hidden_state.numpy()
                given = dict(input_ids=ids, attention_mask=mask)
                if name != "distilbert":
                    given["token_type_ids"] = np.zeros_like(ids)
                inputs, outputs = self.path / "in.npz", self.path / "out.npz"
                np.savez(inputs, **{k: v.astype(np.int32) for k, v in given.items()})
                pomona("run", self.path / name, "--inputs", inputs, "--outputs", outputs, "--force")
                got = np.load(outputs)["last_hidden_state"]
                self.assertGreaterEqual(cosine(got[mask == 1], expected[mask == 1]), 0.99999)

    def test_convert(self):
        for name in ("llama", "gemma3", "qwen3_moe", "gpt2", "bert"):
            self.model(name)
            for options in (["--for", "gpu"], ["--for", "ane"], ["--for", "ane", "--cache", "none", "--requantize", "int8"],
                            ["--for", "gpu", "--cache", "io", "--target", "iOS17", "--precision", "fp32"]):
                if name == "bert" and "--cache" in options:
                    continue
                with self.subTest(name=name, options=options):
                    pomona("convert", self.path / name, "-o", self.path / "out.mlpackage", "--force", "--context", 32, "--prefill", 4,
                           *options)

    def test_a_short_text_is_generated_as_if_there_were_no_room_for_a_long_one(self):
        """Of a model that turns positions otherwise in texts of more than 40 tokens, and has room for 128."""
        path = self.path / "stretched"
        rope = dict(rope_type="longrope", rope_theta=10000.0, short_factor=[1.0, 1.1, 1.3, 1.4], long_factor=[2.0, 3.0, 4.0, 9.0], factor=3.2,
                    original_max_position_embeddings=40)
        config = transformers.Phi3Config(**dict(vectors.GROUPED, max_position_embeddings=128, original_max_position_embeddings=40,
                                                rope_parameters=rope, eos_token_id=None))
        torch.manual_seed(3)
        model = transformers.Phi3ForCausalLM(config).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(4 if parameter.dim() > 1 else 1)
        model.save_pretrained(path)
        words = {"[UNK]": 0, **{f"w{i}": i for i in range(1, 24)}}
        (path / "tokenizer.json").write_text(json.dumps({
            "version": "1.0", "added_tokens": [], "normalizer": None, "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": None,
            "decoder": None, "model": {"type": "WordLevel", "vocab": words, "unk_token": "[UNK]"}}))
        prompt = [5, 9, 3, 17, 11, 20]
        with torch.no_grad():
            expected = model.generate(input_ids=torch.tensor([prompt]), max_new_tokens=30, do_sample=False, eos_token_id=None)[0, 6:].tolist()
        answer = pomona("generate", path, "--raw", "--prompt", " ".join(f"w{i}" for i in prompt), "--max-tokens", 30, "--json")
        self.assertEqual(json.loads(answer)["tokens"], expected)


if __name__ == "__main__":
    unittest.main()
