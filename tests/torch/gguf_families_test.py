"""GGUF files that llama.cpp's own converter writes of models drawn by chance: logits (of encoders, the last hidden states) against transformers'.

    LLAMA_CPP=FOLDER gguf_families_test.py [FIRST END]

FOLDER is llama.cpp's source, whose convert_hf_to_gguf.py is used as it is but for the vocabulary, which these models do not have. Without it, or
without torch and transformers, the test is skipped. What a GGUF cannot say (activations, windows that llama.cpp does not have) is not drawn.
"""
import contextlib
import io
import json
import logging
import os
import pathlib
import subprocess
import sys

LLAMA = pathlib.Path(os.environ.get("LLAMA_CPP") or "/nowhere")
if not (LLAMA / "convert_hf_to_gguf.py").exists():
    print("skipped: LLAMA_CPP names no folder with convert_hf_to_gguf.py")
    sys.exit(0)
sys.path[:0] = [str(LLAMA), str(LLAMA / "gguf-py")]
os.environ["TQDM_DISABLE"] = "1"

import random_families_test as families
import seeds

import convert_hf_to_gguf as converter
import numpy as np
import torch
import transformers
from conversion.base import TextModel

PLAIN = dict(rope_type="default", rope_theta=10000.0)
# Kinds of stretched ropes that the converter writes.
ROPES = {"LlamaForCausalLM": ("linear", "yarn", "llama3"), "Qwen2ForCausalLM": ("linear", "yarn"), "Qwen3ForCausalLM": ("linear", "yarn"),
         "Qwen3MoeForCausalLM": ("linear", "yarn"), "MistralForCausalLM": ("linear", "yarn"), "MixtralForCausalLM": ("linear", "yarn"),
         "SmolLM3ForCausalLM": ("linear", "yarn"), "Phi3ForCausalLM": ("longrope",), "GemmaForCausalLM": (), "Gemma2ForCausalLM": (),
         "Gemma3ForCausalLM": ("linear",), "GPT2LMHeadModel": (), "GPTNeoXForCausalLM": ()}
ENCODERS = ("BertModel", "RobertaModel", "DistilBertModel", "XLMRobertaModel")


def sayable(kind, config, draw):
    """The configuration with what a GGUF of this kind has no words for set to what it means there."""
    config = {key: value for key, value in config.items() if key not in ("use_sliding_window", "max_window_layers", "layer_types")}
    for key in ("hidden_act", "activation"):
        if key in config:
            config[key] = "gelu" if kind in ENCODERS or "NeoX" in kind else "silu"
    if "sliding_window" in config and not kind.startswith("Gemma"):
        config["sliding_window"] = None
    if kind.startswith("Gemma"):
        config.update(tie_word_embeddings=True, query_pre_attn_scalar=draw.head_dim)
    if kind == "Gemma2ForCausalLM":
        config.update(attn_logit_softcapping=draw.one(2.0, 50.0), final_logit_softcapping=draw.one(3.0, 30.0))
    if kind == "Gemma3ForCausalLM":
        config.update(attn_logit_softcapping=None, final_logit_softcapping=None)
    if kind == "Qwen3MoeForCausalLM":
        config.update(norm_topk_prob=True, decoder_sparse_step=1, mlp_only_layers=[])
    if kind == "SmolLM3ForCausalLM":
        config.update(no_rope_layers=[int((layer + 1) % 4 != 0) for layer in range(draw.layers)])
    if kind == "GPT2LMHeadModel":
        config.update(activation_function="gelu_new", scale_attn_weights=True, scale_attn_by_inverse_layer_idx=False, tie_word_embeddings=True)
    rope = config.get("rope_parameters")
    if rope and "full_attention" in rope:
        rope = rope["full_attention"]
    if rope:
        # A new GGUF says nothing of a theta where the architecture has always had 10,000.
        fixed = kind in ("GemmaForCausalLM", "Gemma2ForCausalLM", "GPTNeoXForCausalLM")
        if fixed or rope["rope_type"] not in ROPES[kind]:
            kept = {key: value for key, value in rope.items() if key == "partial_rotary_factor"}
            theta = PLAIN["rope_theta"] if fixed else rope["rope_theta"]
            rope.clear()
            rope.update(PLAIN, rope_theta=theta, **kept)
        rope.pop("truncate", None)
    return config


def some_vocabulary(model):
    count = model.hparams["vocab_size"]
    model.gguf_writer.add_tokenizer_model("gpt2")
    model.gguf_writer.add_tokenizer_pre("gpt-2")
    model.gguf_writer.add_token_list((["t", "1", "t1"] + [f"x{i}" for i in range(count)])[:count])
    model.gguf_writer.add_token_types([1] * count)
    model.gguf_writer.add_token_merges(["t 1"])


def without_vocabulary(cls):
    cls.set_vocab = some_vocabulary
    for each in cls.__subclasses__():
        without_vocabulary(each)


def write_gguf(folder, config):
    """The file that the converter makes of the checkpoint in `folder`."""
    # Some parts of it count the words of this file, or ask for keys that transformers does not write any more.
    words = {"model": {"vocab": {f"x{i}": i for i in range(config["vocab_size"])}}, "added_tokens": []}
    (folder / "tokenizer.json").write_text(json.dumps(words))
    hparams = converter.ModelBase.load_hparams(folder, False)
    cls = converter.get_model_class(converter.get_model_architecture(hparams, converter.ModelType.TEXT))
    without_vocabulary(TextModel)
    model = cls(folder, converter.gguf.LlamaFileType.ALL_F32, folder / "m.gguf")
    model.hparams.setdefault("n_ctx", 64)
    model.hparams.setdefault("rotary_pct", (config.get("rope_parameters") or {}).get("partial_rotary_factor", 1))
    with contextlib.redirect_stderr(io.StringIO()):
        model.write()
    return folder / "m.gguf"


def made(kind, config, draw, folder):
    """The model, or None where transformers does not take these options together."""
    cls = getattr(transformers, kind)
    try:
        families.save(cls, config, draw, folder)
        return cls.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    except Exception as error:
        print(f"{kind} not drawn: {str(error).strip().splitlines()[0]}")
        return None


def problem_of(seed, folder):
    draw = families.Draw(seed)
    kind = draw.one(*ROPES)
    config = sayable(kind, families.FAMILIES[kind](draw), draw)
    model = made(kind, config, draw, folder)
    if not model:
        return None
    tokens = np.random.RandomState(seed).randint(3, 24, 40)
    with torch.no_grad():
        want = model(input_ids=torch.tensor(tokens)[None]).logits[0].double().numpy()
    cosine = families.nearest(families.logits(write_gguf(folder, config), tokens, folder)[:, :want.shape[1]], want)
    return None if cosine >= 0.99999 else f"{kind} {config}: cosine {cosine}"


def encoder_problem_of(seed, folder):
    draw = families.Draw(seed)
    kind = draw.one(*ENCODERS)
    config = sayable(kind, families.encoder(draw, kind), draw)
    model = made(kind, config, draw, folder)
    rng, count = np.random.RandomState(seed), draw.one(7, 30)
    given = dict(input_ids=rng.randint(3, 50, (2, count)), attention_mask=np.ones((2, count), int))
    given["attention_mask"][1, count // 2:] = 0
    if not kind.startswith("Distil"):
        given["token_type_ids"] = np.zeros((2, count), int)
    with torch.no_grad():
        want = model(**{name: torch.tensor(array) for name, array in given.items()}).last_hidden_state.double().numpy()
    np.savez(folder / "in.npz", **{name: array.astype(np.int32) for name, array in given.items()})
    words = [families.BINARY, "run", write_gguf(folder, config), "--inputs", folder / "in.npz", "--outputs", folder / "out.npz"]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True)
    assert done.returncode == 0, f"{kind}: {done.stderr}"
    got = np.load(folder / "out.npz")["last_hidden_state"].astype(np.float64)
    seen = given["attention_mask"] == 1
    cosine = families.nearest(got[seen].reshape(1, -1), want[seen].reshape(1, -1))
    return None if cosine >= 0.99999 else f"{kind} {config}: cosine {cosine}"


def main():
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    logging.disable(logging.WARNING)
    return seeds.exit_code("GGUF files", problem_of, encoder_problem_of)


if __name__ == "__main__":
    sys.exit(main())
