"""Language models of a few kilobytes, written here: what sentence encoders do behind their layers against NumPy, and packages cut and run at random."""
import json
import os
import pathlib
import subprocess
import tempfile
import unittest

import numpy as np

POMONA = os.environ["POMONA_BINARY"]
WIDTH = 32
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "ripe", "apple", "falls", "far", "from", "the", "tree"]


def pomona(*words):
    return subprocess.run([POMONA, *map(str, words)], capture_output=True, text=True)


def done(*words):
    result = pomona(*words)
    assert result.returncode == 0, f"{words}: {result.stderr}"
    return result.stdout


def save(path, tensors):
    header, offset = {}, 0
    for name, tensor in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [offset, offset + tensor.nbytes]}
        offset += tensor.nbytes
    text = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(t.tobytes() for t in tensors.values()))


class Weights(dict):
    def __init__(self, seed):
        self.random = np.random.default_rng(seed)

    def matrix(self, name, out, inputs, bias=False):
        self[name + ".weight"] = self.random.normal(0, 0.3, (out, inputs)).astype(np.float32)
        if bias:
            self[name + ".bias"] = self.random.normal(0, 0.1, out).astype(np.float32)

    def norm(self, name, bias=True):
        self[name + ".weight"] = self.random.normal(1, 0.1, WIDTH).astype(np.float32)
        if bias:
            self[name + ".bias"] = self.random.normal(0, 0.1, WIDTH).astype(np.float32)


def write_bert(folder):
    w = Weights(1)
    for name, rows in (("word_embeddings", len(WORDS)), ("position_embeddings", 40), ("token_type_embeddings", 2)):
        w.matrix("embeddings." + name, rows, WIDTH)
    w.norm("embeddings.LayerNorm")
    at = "encoder.layer.0."
    for name in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
        w.matrix(at + name, WIDTH, WIDTH, True)
    w.matrix(at + "intermediate.dense", 48, WIDTH, True)
    w.matrix(at + "output.dense", WIDTH, 48, True)
    w.norm(at + "attention.output.LayerNorm")
    w.norm(at + "output.LayerNorm")
    save(folder / "model.safetensors", w)
    (folder / "config.json").write_text(json.dumps(dict(
        model_type="bert", vocab_size=len(WORDS), hidden_size=WIDTH, num_hidden_layers=1, num_attention_heads=4, intermediate_size=48,
        max_position_embeddings=40)))
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")


def write_llama(folder):
    w = Weights(2)
    for i in range(3):
        at = f"model.layers.{i}."
        for name, out, inputs in (("q", WIDTH, WIDTH), ("k", WIDTH // 2, WIDTH), ("v", WIDTH // 2, WIDTH), ("o", WIDTH, WIDTH)):
            w.matrix(f"{at}self_attn.{name}_proj", out, inputs)
        for name, out, inputs in (("gate", 48, WIDTH), ("up", 48, WIDTH), ("down", WIDTH, 48)):
            w.matrix(f"{at}mlp.{name}_proj", out, inputs)
        w.norm(at + "input_layernorm", False)
        w.norm(at + "post_attention_layernorm", False)
    w.matrix("model.embed_tokens", 50, WIDTH)
    w.matrix("lm_head", 50, WIDTH)
    w.norm("model.norm", False)
    save(folder / "model.safetensors", w)
    (folder / "config.json").write_text(json.dumps(dict(
        model_type="llama", vocab_size=50, hidden_size=WIDTH, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2, intermediate_size=48,
        max_position_embeddings=64)))



# From hidden states [batch, tokens, width] and a mask, as sentence-transformers pools them.
def pooled(way, hidden, mask):
    m = mask[..., None].astype(np.float64)
    if way == "cls":
        return hidden[:, 0]
    if way == "max":
        return np.where(m > 0, hidden, -np.inf).max(1)
    if way == "mean":
        return (hidden * m).sum(1) / m.sum(1)
    if way == "mean_sqrt_len_tokens":
        return (hidden * m).sum(1) / np.sqrt(m.sum(1))
    if way == "weightedmean":
        w = m * np.arange(1, hidden.shape[1] + 1)[None, :, None]
        return (hidden * w).sum(1) / w.sum(1)
    return np.stack([row[int(count) - 1] for row, count in zip(hidden, mask.sum(1))])


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


class SmallLanguageModels(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)
        self.model = self.folder / "model"
        self.model.mkdir()

    def set_steps(self, *steps):
        """Each is a type, its settings and its weights."""
        listed = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}]
        for i, (kind, settings, weights) in enumerate(steps, 1):
            path = f"{i}_{kind}"
            (self.model / path).mkdir(exist_ok=True)
            (self.model / path / "config.json").write_text(json.dumps(settings))
            if weights:
                save(self.model / path / "model.safetensors", weights)
            listed.append({"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"})
        (self.model / "modules.json").write_text(json.dumps(listed))

    def embedded(self, model, ids, mask):
        given = dict(input_ids=ids, attention_mask=mask, token_type_ids=np.zeros_like(ids))
        np.savez(self.folder / "in.npz", **given)
        done("run", model, "--inputs", self.folder / "in.npz", "--outputs", self.folder / "out.npz", "--force")
        out = np.load(self.folder / "out.npz")
        return out["last_hidden_state"].astype(np.float64), out["sentence_embedding"]

    def check_steps(self, expected):
        ids = np.random.default_rng(3).integers(4, len(WORDS), (2, 9)).astype(np.int32)
        mask = np.ones_like(ids)
        mask[1, 5:] = 0
        hidden, got = self.embedded(self.model, ids, mask)
        np.testing.assert_allclose(got, expected(hidden, mask), rtol=1e-4, atol=1e-5)
        done("convert", self.model, "-o", self.folder / "m.mlpackage", "--force", "--precision", "fp32")
        hidden, got = self.embedded(self.folder / "m.mlpackage", ids[1:], mask[1:])
        np.testing.assert_allclose(got, expected(hidden, mask[1:]), rtol=1e-4, atol=1e-5)

    def test_every_pooling(self):
        write_bert(self.model)
        ways = ["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]
        for way in ways:
            self.set_steps(("Pooling", {"embedding_dimension": WIDTH, "pooling_mode": way}, {}))
            self.check_steps(lambda hidden, mask: pooled(way, hidden, mask))
        self.set_steps(("Pooling", {"pooling_mode": ["mean", "cls"]}, {}))
        self.check_steps(lambda hidden, mask: np.concatenate([pooled(w, hidden, mask) for w in ("mean", "cls")], 1))
        # As files said it before; the vectors come in an order of their own.
        self.set_steps(("Pooling", {"word_embedding_dimension": WIDTH, "pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True,
                                    "pooling_mode_max_tokens": True, "pooling_mode_lasttoken": False}, {}), ("Normalize", {}, {}))
        self.check_steps(lambda hidden, mask: unit(np.concatenate([pooled(w, hidden, mask) for w in ("cls", "max", "mean")], 1)))

    def test_steps_behind_the_pooling(self):
        write_bert(self.model)
        random = np.random.default_rng(5)
        a, b = random.normal(0, 0.3, (20, WIDTH)).astype(np.float32), random.normal(0, 0.3, 20).astype(np.float32)
        c, d = random.normal(0, 0.3, (12, 20)).astype(np.float32), random.normal(0, 0.3, (12, 20)).astype(np.float32)
        g, h = random.normal(1, 0.1, WIDTH).astype(np.float32), random.normal(0, 0.1, WIDTH).astype(np.float32)
        self.set_steps(
            ("Pooling", {"pooling_mode": "mean"}, {}), ("LayerNorm", {"dimension": WIDTH}, {"norm.weight": g, "norm.bias": h}),
            ("Dropout", {"dropout": 0.1}, {}),
            ("Dense", {"in_features": WIDTH, "out_features": 20, "bias": True, "activation_function": "torch.nn.modules.activation.Tanh"},
             {"linear.weight": a, "linear.bias": b}),
            ("Dense", {"in_features": 20, "out_features": 12, "bias": False, "activation_function": "torch.nn.modules.linear.Identity",
                       "use_residual": True}, {"linear.weight": c, "residual.weight": d}), ("Normalize", {}, {}))

        def expected(hidden, mask):
            x = pooled("mean", hidden, mask)
            x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * g + h
            x = np.tanh(x @ a.T + b)
            return unit(x @ c.T + x @ d.T)

        self.check_steps(expected)

    def test_a_text_is_read_with_the_models_own_tokenizer_as_far_as_it_says(self):
        write_bert(self.model)
        self.set_steps(("Pooling", {"pooling_mode": "mean"}, {}))
        (self.model / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 6, "do_lower_case": False}))
        done("convert", self.model, "-o", self.folder / "m.mlpackage", "--precision", "fp32")
        for model in (self.model, self.folder / "m.mlpackage"):
            done("run", model, "--text", "the ripe apple falls far from the tree", "--outputs", self.folder / "text.npz", "--force")
            ids = np.array([[WORDS.index(w) for w in ("[CLS]", "the", "ripe", "apple", "falls", "[SEP]")]], np.int32)
            _, expected = self.embedded(model, ids, np.ones_like(ids))
            np.testing.assert_allclose(np.load(self.folder / "text.npz")["sentence_embedding"], expected, rtol=1e-5, atol=1e-6)

    def test_unknown_steps_are_named(self):
        write_bert(self.model)
        for steps, words in (((("CNN", {}, {}),), "CNN"), ((("Pooling", {"pooling_mode": "sum"}, {}),), "'sum'"),
                             ((("Pooling", {"pooling_mode": "mean"}, {}), ("Dense", {"activation_function": "torch.nn.Softsign"}, {
                                 "linear.weight": np.ones((4, WIDTH), np.float32)})), "Softsign")):
            self.set_steps(*steps)
            result = pomona("inspect" if words == "CNN" else "run", self.model, *([] if words == "CNN" else ["--random"]))
            self.assertEqual(result.returncode, 2)
            self.assertIn(words, result.stderr)

    def logits(self, model):
        done("logits", model, "--tokens", "3,9,27,31,44,8,15,3,2", "--output", self.folder / "l.npz", "--force")
        return np.load(self.folder / "l.npz")["logits"]

    def test_small_packages_are_cut_and_run_at_random(self):
        write_llama(self.model)
        whole = self.folder / "m.mlpackage"
        for form in (["--for", "gpu"], ["--for", "ane", "--cache", "io"], ["--cache", "none"]):
            done("convert", self.model, "-o", whole, "--force", "--context", "32", "--prefill", "8", *form)
            expected = self.logits(whole)
            for how in (["--parts", "2"], ["--parts", "3", "--embedding-apart"]):
                done("split", whole, "-o", self.folder / "parts", "--force", *how)
                self.assertEqual(len(list((self.folder / "parts").glob("*.mlpackage"))), int(how[1]))
                np.testing.assert_array_equal(self.logits(self.folder / "parts"), expected)
            # Positions are drawn from those that the caches have.
            for function in ([], ["--function", "prefill"])[: 2 if form[1] == "gpu" else 1]:
                for seed in range(6):
                    done("run", whole, "--random", "--seed", seed, *function)


if __name__ == "__main__":
    unittest.main()
