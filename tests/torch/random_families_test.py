"""Checkpoints of known families with configurations drawn by chance, written by transformers: every position's logits against transformers'
own, straight from the checkpoint and from a package in a form drawn by chance, too; and the outputs of encoders with their heads.

    random_families_test.py               some
    random_families_test.py 100 400       those of seeds 100 to 399

Configurations are written as transformers writes them today or as it did before `rope_parameters`; weights in fp32, fp16 or bf16, in one file
or several. Wants torch and transformers; without them it is skipped.
"""
import importlib.util
import json
import os
import pathlib
import random
import subprocess
import sys

for needed in ("torch", "transformers", "numpy"):
    if importlib.util.find_spec(needed) is None:
        print(f"skipped: there is no {needed}")
        sys.exit(0)

os.environ["HF_HUB_OFFLINE"] = "1"
import numpy as np
import torch
import transformers

import seeds

BINARY = os.environ.get("POMONA_BINARY", "build/release/pomona")
SHORT = 16  # positions before a stretched rope; texts are longer
FAMILIES = {}


def family(kind):
    def keep(draw):
        FAMILIES[kind] = draw
        return draw
    return keep


class Draw:
    """A configuration in the making."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.layers, self.heads, self.head_dim = self.one(1, 2, 3, 5), self.one(2, 4, 6), self.one(8, 16, 24)
        self.width = self.heads * self.head_dim
        self.kv_heads = self.one(*(n for n in (1, 2, 3, self.heads) if self.heads % n == 0))

    def one(self, *choices):
        return self.rng.choice(choices)

    def chance(self, share=0.5):
        return self.rng.random() < share

    def layer_types(self):
        return [self.one("sliding_attention", "full_attention") for _ in range(self.layers)]

    def sizes(self, **more):
        return dict(vocab_size=self.one(24, 50, 97), hidden_size=self.one(16, 32, 48, 72), num_hidden_layers=self.layers,
                    num_attention_heads=self.heads, intermediate_size=self.one(24, 40, 64), max_position_embeddings=64, pad_token_id=0,
                    bos_token_id=1, eos_token_id=2, tie_word_embeddings=self.chance(), **more)

    def grouped(self, **more):
        return self.sizes(num_key_value_heads=self.kv_heads, **more)

    def rope(self, turned=1.0, kinds=("default", "default", "linear", "dynamic", "llama3", "yarn", "longrope")):
        count = int(self.head_dim * turned) // 2
        stretched = dict(factor=4.0, original_max_position_embeddings=SHORT)
        kind = self.one(*kinds)
        more = {"default": {}, "linear": dict(factor=2.5), "dynamic": dict(factor=2.0),
                "llama3": dict(stretched, low_freq_factor=1.0, high_freq_factor=4.0),
                "yarn": self.one(stretched, dict(stretched, beta_fast=16.0, beta_slow=2.0, attention_factor=1.3, truncate=False)),
                "longrope": dict(stretched, short_factor=[1 + 0.1 * i for i in range(count)], long_factor=[1.5 + 0.3 * i for i in range(count)])}
        return dict(rope_type=kind, rope_theta=self.one(10000.0, 500000.0), **more[kind])


@family("LlamaForCausalLM")
def llama(d):
    return d.grouped(head_dim=d.head_dim, attention_bias=d.chance(), mlp_bias=d.chance(), hidden_act=d.one("silu", "gelu", "relu"),
                     rope_parameters=d.rope())


@family("MistralForCausalLM")
def mistral(d):
    return d.grouped(head_dim=d.head_dim, sliding_window=d.one(None, 5, 9, 200), rope_parameters=d.rope())


def qwen(d, **more):
    config = d.grouped(rope_parameters=d.rope(), rms_norm_eps=d.one(1e-5, 1e-6), **more)
    if d.chance():
        config.update(use_sliding_window=True, sliding_window=d.one(4, 7), max_window_layers=d.one(0, 1, 2))
    return config


@family("Qwen2ForCausalLM")
def qwen2(d):
    return dict(qwen(d), hidden_size=d.width)


@family("Qwen3ForCausalLM")
def qwen3(d):
    return qwen(d, head_dim=d.head_dim, attention_bias=d.chance())


@family("Qwen3MoeForCausalLM")
def qwen3_moe(d):
    return qwen(d, head_dim=d.head_dim, num_experts=d.one(3, 5, 8), num_experts_per_tok=d.one(1, 2, 3), moe_intermediate_size=20,
                decoder_sparse_step=d.one(1, 2), mlp_only_layers=d.one([], [0]), norm_topk_prob=d.chance())


@family("SmolLM3ForCausalLM")
def smollm3(d):
    return dict(qwen(d, no_rope_layers=[d.one(0, 1) for _ in range(d.layers)], attention_bias=d.chance(), mlp_bias=d.chance()), hidden_size=d.width)


@family("MixtralForCausalLM")
def mixtral(d):
    return dict(d.grouped(num_local_experts=d.one(2, 4, 7), num_experts_per_tok=d.one(1, 2), sliding_window=d.one(None, 6),
                          rope_parameters=d.rope()), hidden_size=d.width)


@family("GemmaForCausalLM")
def gemma(d):
    return d.grouped(head_dim=d.head_dim, rope_parameters=d.rope(kinds=("default",)))


def later_gemma(d, **more):
    return d.grouped(head_dim=d.head_dim, sliding_window=d.one(4, 9), query_pre_attn_scalar=d.one(8, 20), layer_types=d.layer_types(),
                     attn_logit_softcapping=d.one(None, 2.0), final_logit_softcapping=d.one(None, 3.0), **more)


@family("Gemma2ForCausalLM")
def gemma2(d):
    return later_gemma(d)


@family("Gemma3ForCausalLM")
def gemma3(d):
    local = d.rope(kinds=("default",))
    return later_gemma(d, rope_parameters=dict(full_attention=d.rope(kinds=("default", "linear", "llama3", "yarn")), sliding_attention=local))


@family("Phi3ForCausalLM")
def phi3(d):
    turned = d.one(1.0, 0.75, 0.5)
    return dict(d.grouped(original_max_position_embeddings=SHORT, sliding_window=d.one(None, 6),
                          rope_parameters=dict(d.rope(turned, ("default", "longrope")), partial_rotary_factor=turned)), hidden_size=d.width)


@family("GPT2LMHeadModel")
def gpt2(d):
    return dict(vocab_size=50, n_embd=d.width, n_layer=d.layers, n_head=d.heads, n_positions=64, n_inner=d.one(None, 40),
                activation_function=d.one("gelu_new", "gelu", "relu"), scale_attn_weights=d.chance(0.8),
                scale_attn_by_inverse_layer_idx=d.chance(0.3), tie_word_embeddings=d.chance(0.8), bos_token_id=1, eos_token_id=2)


@family("OPTForCausalLM")
def opt(d):
    return dict(vocab_size=50, hidden_size=d.width, num_hidden_layers=d.layers, num_attention_heads=d.heads, ffn_dim=40,
                max_position_embeddings=64, word_embed_proj_dim=d.one(d.width, 16), do_layer_norm_before=d.chance(0.6),
                enable_bias=d.chance(0.8), layer_norm_elementwise_affine=d.chance(0.7), activation_function=d.one("relu", "gelu"),
                tie_word_embeddings=d.chance(0.8))


@family("GPTNeoXForCausalLM")
def gpt_neox(d):
    rope = dict(d.rope(kinds=("default", "linear", "dynamic")), partial_rotary_factor=d.one(0.25, 0.5, 1.0))
    return dict(d.sizes(use_parallel_residual=d.chance(), attention_bias=d.chance(0.8), hidden_act=d.one("gelu", "relu"), rope_parameters=rope),
                hidden_size=d.width)


ENCODERS = [family + task for family in ("Bert", "Roberta", "DistilBert", "XLMRoberta")
            for task in ("Model", "ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering", "ForMaskedLM")]


def encoder(d, kind):
    classes = 2 if "Question" in kind else d.one(2, 5)
    if kind.startswith("Distil"):
        return dict(vocab_size=50, dim=d.width, n_layers=d.layers, n_heads=d.heads, hidden_dim=40, max_position_embeddings=64,
                    activation=d.one("gelu", "relu"), sinusoidal_pos_embds=d.chance(0.3), num_labels=classes)
    return dict(vocab_size=50, hidden_size=d.width, num_hidden_layers=d.layers, num_attention_heads=d.heads, intermediate_size=40,
                max_position_embeddings=66, type_vocab_size=d.one(1, 2), hidden_act=d.one("gelu", "relu", "gelu_new"),
                layer_norm_eps=d.one(1e-12, 1e-5), pad_token_id=0 if kind.startswith("Bert") else 1, num_labels=classes)


def as_written_before(config, rng):
    """rope_theta, rope_scaling and torch_dtype in place of rope_parameters and dtype."""
    config["torch_dtype"] = config.pop("dtype")
    rope = config.pop("rope_parameters", None)
    if not rope:
        return
    if "full_attention" in rope:
        config["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
        rope = rope["full_attention"]
    neox = config["model_type"] == "gpt_neox"
    config["rotary_emb_base" if neox else "rope_theta"] = rope.pop("rope_theta")
    if "partial_rotary_factor" in rope:
        config["rotary_pct" if neox else "partial_rotary_factor"] = rope.pop("partial_rotary_factor")
    if rng.random() < 0.5 and "rope_local_base_freq" not in config:  # Gemma 3 never knew it by that name
        rope["type"] = rope.pop("rope_type")
    config["rope_scaling"] = None if "default" in rope.values() else rope


def save(cls, config, draw, folder):
    torch.manual_seed(draw.rng.randrange(1 << 30))
    model = cls(cls.config_class(**config))
    with torch.no_grad():  # as initialised, attention is nearly even and says little
        for parameter in model.parameters():
            parameter.mul_(4 if parameter.dim() > 1 else 1).add_(torch.randn_like(parameter) * 0.05)
    model.to(draw.one(torch.float32, torch.float16, torch.bfloat16)).save_pretrained(folder, max_shard_size=draw.one("10KB", "1GB"))
    if draw.chance():
        written = json.loads((folder / "config.json").read_text())
        as_written_before(written, draw.rng)
        (folder / "config.json").write_text(json.dumps(written))


def form(draw, leaps):
    """How the package is made, and the least cosine: a cache that is a state holds fp16, and with that a token may go to another expert."""
    cache = draw.one("state", "io", "none")
    precision = draw.one("fp32", "fp16")
    target = draw.one("iOS18", "iOS26") if cache == "state" else draw.one("iOS16", "iOS17", "iOS18", "iOS26")
    options = ["--for", draw.one("ane", "gpu"), "--cache", cache, "--precision", precision, "--target", target, "--context", "48",
               "--prefill", draw.one("1", "4", "16"), "--split-head", draw.one("0", "3"), "--no-verify"]
    if cache == "state" and draw.chance():
        options.append("--stack-states")
    return options, 0.9999 if precision == "fp32" and cache != "state" else 0.8 if leaps else 0.99


def logits(model, tokens, folder):
    words = [BINARY, "logits", model, "--tokens", ",".join(map(str, tokens)), "--output", folder / "logits.npz", "--force"]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return np.load(folder / "logits.npz")["logits"].astype(np.float64)


def nearest(got, want):
    return float(((got * want).sum(-1) / np.sqrt((got * got).sum(-1) * (want * want).sum(-1))).min())


def problem_of(seed, folder):
    draw = Draw(seed)
    kind = draw.one(*FAMILIES)
    cls, config = getattr(transformers, kind), FAMILIES[kind](draw)
    try:
        save(cls, config, draw, folder)
        model = cls.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    except Exception as error:  # options that transformers does not take together
        print(f"seed {seed}: {kind} not drawn: {str(error).strip().splitlines()[0]}")
        return None
    tokens = np.random.RandomState(seed).randint(3, 24, 40)
    with torch.no_grad():
        want = model(input_ids=torch.tensor(tokens)[None]).logits[0].double().numpy()
    cosine = nearest(logits(folder, tokens, folder), want)
    if not cosine >= 0.99999:
        return f"{kind} {config}: cosine {cosine}"
    options, bar = form(draw, leaps="num_experts_per_tok" in config)
    done = subprocess.run([BINARY, "convert", str(folder), "-o", str(folder / "m.mlpackage"), "--force", *options], capture_output=True, text=True)
    assert done.returncode == 0, f"{kind} {options}: {done.stderr}"
    cosine = nearest(logits(folder / "m.mlpackage", tokens, folder), want)
    return None if cosine >= bar else f"{kind} {config} {options}: cosine {cosine}"


def encoder_problem_of(seed, folder):
    """Two texts, one of them padded."""
    draw = Draw(seed)
    kind = draw.one(*ENCODERS)
    cls, config = getattr(transformers, kind), encoder(draw, kind)
    save(cls, config, draw, folder)
    model = cls.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    rng, count = np.random.RandomState(seed), draw.one(7, 30)
    given = dict(input_ids=rng.randint(3, 50, (2, count)), attention_mask=np.ones((2, count), int))
    given["attention_mask"][1, count // 2:] = 0
    if not kind.startswith("Distil"):
        given["token_type_ids"] = rng.randint(0, config["type_vocab_size"], (2, count))
    with torch.no_grad():
        want = model(**{name: torch.tensor(array) for name, array in given.items()}, output_hidden_states=True)
    np.savez(folder / "in.npz", **{name: array.astype(np.int32) for name, array in given.items()})
    words = [BINARY, "run", folder, "--inputs", folder / "in.npz", "--outputs", folder / "out.npz"]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True)
    assert done.returncode == 0, f"{kind}: {done.stderr}"
    got = dict(np.load(folder / "out.npz"))
    wanted = {name: want[name] for name in ("logits", "start_logits", "end_logits", "pooler_output") if name in want}
    wanted["last_hidden_state"] = want.hidden_states[-1]
    if set(got) != set(wanted):
        return f"{kind}: the outputs are {sorted(got)}, not {sorted(wanted)}"
    for name, right in wanted.items():
        seen = given["attention_mask"] == 1 if right.ndim == 3 or name in ("start_logits", "end_logits") else slice(None)
        a, b = (array[seen].reshape(1, -1).astype(np.float64) for array in (got[name], right.numpy()))
        if not nearest(a, b) >= 0.99999:
            return f"{kind} {config}: {name} has cosine {nearest(a, b)}"
    return None


def main():
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return seeds.exit_code("configurations", problem_of, encoder_problem_of)


if __name__ == "__main__":
    sys.exit(main())
