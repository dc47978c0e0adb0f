"""Language models of a few kilobytes, written here: what sentence encoders do behind their layers against NumPy, packages cut and run at random, and
quantised weights of unusual sizes against the same model with what they stand for."""
import json
import os
import pathlib
import re
import subprocess
import tempfile
import unittest
import urllib.error
import urllib.request

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


DTYPES = {np.dtype(np.float32): "F32", np.dtype(np.float16): "F16", np.dtype(np.int32): "I32", np.dtype(np.int64): "I64", np.dtype(np.uint8): "F8_E4M3"}


def save(path, tensors):
    header, offset = {}, 0
    for name, tensor in tensors.items():
        header[name] = {"dtype": DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [offset, offset + tensor.nbytes]}
        offset += tensor.nbytes
    text = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(t.tobytes() for t in tensors.values()))


def read(path):
    """Matrices and vectors in 32 bits."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    return {name: np.frombuffer(data[8 + size :], np.float32, int(np.prod(entry["shape"])), entry["data_offsets"][0]).reshape(entry["shape"])
            for name, entry in header.items()}


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


def stream(codes, bits):
    """GPTQ's packing: a stream of bits down each column of words."""
    bytes_of_bits = (codes[..., None] >> np.arange(bits) & 1).reshape(codes.shape[0], codes.shape[1] * bits)
    lines = bytes_of_bits.reshape(codes.shape[0], -1, 32)
    return (lines.astype(np.uint64) << np.arange(32, dtype=np.uint64)).sum(-1).astype(np.uint32).view(np.int32)


def whole(codes, bits):
    """compressed-tensors' packing: as many codes as there is room for in each word of a row."""
    each = 32 // bits
    padded = np.zeros((codes.shape[0], -(-codes.shape[1] // each) * each), np.uint64)
    padded[:, : codes.shape[1]] = codes
    shifts = np.arange(each, dtype=np.uint64) * np.uint64(bits)
    return (padded.reshape(codes.shape[0], -1, each) << shifts).sum(-1).astype(np.uint32).view(np.int32)


def quantised(matrix, bits, group, order):
    """Codes, scales and zero points of groups of columns taken in an order; and what they stand for."""
    groups, top = -(-matrix.shape[1] // group), 2**bits - 1
    codes, decoded, index = np.zeros(matrix.shape, np.int64), np.zeros_like(matrix), np.zeros(matrix.shape[1], np.int32)
    scales, zeros = np.zeros((len(matrix), groups), np.float16), np.zeros((len(matrix), groups), np.int64)
    for g in range(groups):
        columns = order[g * group : (g + 1) * group]
        part, index[columns] = matrix[:, columns], g
        low, high = np.minimum(part.min(1), 0), np.maximum(part.max(1), 0)
        scales[:, g] = (high - low) / top
        scale = scales[:, g].astype(np.float32)[:, None]
        zeros[:, g] = np.clip(np.round(-low / scale[:, 0]), 1, top)
        codes[:, columns] = np.clip(np.round(part / scale) + zeros[:, g, None], 0, top)
        decoded[:, columns] = (codes[:, columns] - zeros[:, g, None]) * scale
    return codes, scales, zeros, index, decoded


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

    def check_quantised(self, settings, tensors_of):
        """`tensors_of` makes a module's tensors from its matrix, and the matrix they stand for."""
        write_llama(self.model)
        given, plain = read(self.model / "model.safetensors"), {}
        stored = {}
        for number, (name, tensor) in enumerate(given.items()):
            plain[name] = tensor
            if name.endswith("_proj.weight"):
                tensors, plain[name] = tensors_of(number, tensor)
                stored.update({name[: -len("weight")] + key: value for key, value in tensors.items()})
            else:
                stored[name] = tensor
        save(self.model / "model.safetensors", plain)
        expected = self.logits(self.model)
        save(self.model / "model.safetensors", stored)
        config = json.loads((self.model / "config.json").read_text())
        (self.model / "config.json").write_text(json.dumps(dict(config, quantization_config=settings)))
        np.testing.assert_allclose(self.logits(self.model), expected, rtol=1e-3, atol=2e-3 * np.abs(expected).max())
        done("convert", self.model, "-o", self.folder / "m.mlpackage", "--force", "--precision", "fp32")
        np.testing.assert_allclose(self.logits(self.folder / "m.mlpackage"), expected, rtol=1e-2, atol=1e-2 * np.abs(expected).max())

    def test_gptq_of_mixed_bits_and_a_short_last_group(self):
        random = np.random.default_rng(7)

        def tensors_of(number, matrix):
            bits = 8 if number % 3 == 0 else 4
            order = random.permutation(matrix.shape[1])
            codes, scales, zeros, index, decoded = quantised(matrix, bits, 20, order)
            return {"qweight": np.ascontiguousarray(stream(codes, bits).T), "scales": np.ascontiguousarray(scales.T),
                    "qzeros": stream((zeros - 1).T, bits), "g_idx": index}, decoded

        settings = dict(quant_method="gptq", bits=4, group_size=20, desc_act=True, dynamic={"+:.*": {"bits": 8}})
        self.check_quantised(settings, tensors_of)
        self.check_quantised(dict(settings, quant_method="auto-round", packing_format="auto_round:auto_gptq"), tensors_of)

    def test_compressed_tensors_of_every_width(self):
        for bits in (2, 3, 4, 5, 6, 7, 8):
            def tensors_of(number, matrix):
                codes, scales, zeros, index, decoded = quantised(matrix, bits, 12, np.arange(matrix.shape[1]))
                return {"weight_packed": whole(codes, bits), "weight_scale": scales,
                        "weight_zero_point": np.ascontiguousarray(whole(np.ascontiguousarray(zeros.T), bits).T),
                        "weight_shape": np.array(matrix.shape, np.int64)}, decoded

            weights = dict(num_bits=bits, type="int", symmetric=False, strategy="group", group_size=12)
            self.check_quantised(dict(quant_method="compressed-tensors", format="pack-quantized",
                                      config_groups={"group_0": dict(targets=["Linear"], weights=weights)}), tensors_of)

    def test_compressed_tensors_in_blocks(self):
        table = np.array([0.0] * 8 + [(1 + m / 8) * 2.0 ** (e - 7) for e in range(1, 16) for m in range(8)], np.float32)[:127]

        def tensors_of(number, matrix):
            blocks = tuple(-(-size // 20) for size in matrix.shape)
            scales = np.zeros(blocks, np.float32)
            codes, decoded = np.zeros(matrix.shape, np.uint8), np.zeros_like(matrix)
            for i, j in np.ndindex(blocks):
                place = np.s_[i * 20 : i * 20 + 20, j * 20 : j * 20 + 20]
                scales[i, j] = np.abs(matrix[place]).max() / 448
                near = np.abs(np.abs(matrix[place] / scales[i, j])[..., None] - table).argmin(-1)
                negative = matrix[place] < 0
                codes[place] = np.where(near == 0, 0, near + 128 * negative)
                decoded[place] = table[near] * np.where(negative, -1, 1) * scales[i, j]
            return {"weight": codes, "weight_scale": scales}, decoded

        weights = dict(num_bits=8, type="float", symmetric=True, strategy="block", block_structure=[20, 20])
        self.check_quantised(dict(quant_method="compressed-tensors", format="float-quantized",
                                  config_groups={"group_0": dict(targets=["Linear"], weights=weights)}), tensors_of)

    def test_generation_ends_where_the_configuration_says(self):
        write_llama(self.model)
        words = {"[UNK]": 0, **{f"w{i}": i for i in range(1, 50)}}
        self.write_words(words)
        given = ["generate", self.model, "--raw", "--prompt", "w5 w6", "--max-tokens", 8, "--json"]
        first = json.loads(done(*given))["tokens"]
        self.assertEqual(len(first), 8)
        config = json.loads((self.model / "config.json").read_text())
        (self.model / "config.json").write_text(json.dumps(dict(config, eos_token_id=[first[3], 999])))
        self.assertEqual(json.loads(done(*given))["tokens"], first[: first.index(first[3])])
        (self.model / "generation_config.json").write_text(json.dumps({"eos_token_id": first[5]}))
        self.assertEqual(json.loads(done(*given))["tokens"], first[: first.index(first[5])])

    def write_words(self, words):
        (self.model / "tokenizer.json").write_text(json.dumps({
            "version": "1.0", "added_tokens": [], "normalizer": None, "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": None,
            "decoder": None, "model": {"type": "WordLevel", "vocab": words, "unk_token": "[UNK]"}}))

    def test_tools_and_calls_are_the_templates(self):
        write_llama(self.model)
        self.write_words({"[UNK]": 0, **{f"w{i}": i for i in range(1, 50)}})
        # As many words as the call says, if all has come through.
        template = ("{% if tools is not defined or tools[0].function.name != 'count' %}{{ raise_exception('no tools') }}{% endif %}"
                    "{{ 'w1 ' * messages[1].tool_calls[0].function.arguments.words }}{{ messages[2].tool_call_id }} {{ kind }} {{ bos_token }}")
        (self.model / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ raise_exception('this is the old one') }}"}))
        (self.model / "chat_template.jinja").write_text(template)
        (self.model / "special_tokens_map.json").write_text(json.dumps({"bos_token": {"content": "w9"}, "eos_token": "w49"}))
        process = subprocess.Popen([POMONA, "serve", str(self.model), "--port", "0"], stderr=subprocess.PIPE, text=True)
        try:
            place = next(found[1] for line in process.stderr if (found := re.search(r"listening on (http://\S+)", line)))
            call = dict(id="w7", type="function", function=dict(name="count", arguments='{"words": 5}'))
            body = dict(messages=[dict(role="user", content="?"), dict(role="assistant", content=None, tool_calls=[call]),
                                  dict(role="tool", tool_call_id="w7", content="5")], max_tokens=2, chat_template_kwargs=dict(kind="w3 w4"))
            tools = [dict(type="function", function=dict(name="count", parameters={}))]
            with urllib.request.urlopen(f"{place}/v1/chat/completions", json.dumps(dict(body, tools=tools)).encode(), timeout=60) as response:
                self.assertEqual(json.load(response)["usage"]["prompt_tokens"], 5 + 1 + 2 + 1)
            for wrong in (body, dict(body, tools=tools, tool_choice="required"), dict(body, tools=[dict(type="function")])):
                with self.assertRaises(urllib.error.HTTPError) as raised:
                    urllib.request.urlopen(f"{place}/v1/chat/completions", json.dumps(wrong).encode(), timeout=60)
                self.assertEqual(raised.exception.code, 400)
                raised.exception.close()
        finally:
            process.terminate()
            process.communicate()

    def test_a_package_is_verified_against_its_checkpoint(self):
        write_llama(self.model)
        one, other = self.folder / "one.mlpackage", self.folder / "other.mlpackage"
        done("convert", self.model, "-o", one, "--context", 40, "--prefill", 8)
        done("convert", self.model, "-o", other, "--context", 32, "--for", "ane", "--cache", "io")
        for got, expected in ((one, self.model), (other, self.model), (self.model, one), (one, other)):
            report = json.loads(done("verify", got, "--against", expected, "--random", 2, "--json"))
            self.assertGreaterEqual(len(report["outputs"]), 4)
        tensors = {name: tensor.copy() for name, tensor in read(self.model / "model.safetensors").items()}
        tensors["model.layers.2.mlp.down_proj.weight"] *= 1.5
        save(self.model / "model.safetensors", tensors)
        self.assertEqual(pomona("verify", one, "--against", self.model).returncode, 1)

    def test_parts_without_an_index_are_one_checkpoint(self):
        write_llama(self.model)
        expected = self.logits(self.model)
        tensors = list(read(self.model / "model.safetensors").items())
        (self.model / "model.safetensors").unlink()
        for part in range(3):
            save(self.model / f"model-0000{part + 1}-of-00003.safetensors", dict(tensors[part::3]))
        np.testing.assert_array_equal(self.logits(self.model), expected)
        (self.model / "model-00002-of-00003.safetensors").unlink()
        result = pomona("logits", self.model, "--tokens", "1,2")
        self.assertEqual(result.returncode, 2)
        self.assertIn("2 files of weights and no index", result.stderr)

    def test_bytes_that_are_no_text_are_marked(self):
        """A tokenizer whose tokens are single bytes, and a model that writes any of them."""
        write_llama(self.model)
        self.write_words({("[UNK]" if i == 0 else f"<0x{0xA0 + i:02X}>"): i for i in range(50)})
        parts = json.loads((self.model / "tokenizer.json").read_text())
        parts["decoder"] = {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]}
        (self.model / "tokenizer.json").write_text(json.dumps(parts))
        result = subprocess.run([POMONA, "generate", self.model, "--raw", "--prompt", "<0xA5>", "--max-tokens", "12"], capture_output=True)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("\ufffd", result.stdout.decode())  # which raises an error where bytes are none of UTF-8

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
