"""Makes families.json: what transformers computes for tiny models of every family that is known.

Weights are drawn by a formula of a tensor's name and the index within it, so that the vectors hold no weights: the test draws the same
ones. Run with a Python that has torch, transformers, safetensors and numpy:  python families_vectors.py [FOLDER for the checkpoints]
"""
import base64
import json
import os
import pathlib
import sys
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"
import numpy as np
import torch
import transformers
from safetensors.numpy import load_file, save_file

TOKENS = [int(t) for t in np.random.RandomState(5).randint(0, 24, 36)]
SIZES = dict(vocab_size=24, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=40, max_position_embeddings=64,
             pad_token_id=0, bos_token_id=1, eos_token_id=2)
GROUPED = dict(SIZES, num_key_value_heads=2)


def scaled(kind, **more):
    return dict(GROUPED, rope_parameters=dict(rope_type=kind, rope_theta=10000.0, **more))


CASES = {
    "llama": ("LlamaForCausalLM", dict(GROUPED, tie_word_embeddings=True)),
    "llama_biased": ("LlamaForCausalLM", dict(SIZES, attention_bias=True, mlp_bias=True)),
    "llama3": ("LlamaForCausalLM", scaled("llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                                         original_max_position_embeddings=16)),
    "llama_linear": ("LlamaForCausalLM", scaled("linear", factor=2.5)),
    "llama_dynamic": ("LlamaForCausalLM", scaled("dynamic", factor=2.0)),
    "llama_yarn": ("LlamaForCausalLM", scaled("yarn", factor=4.0, original_max_position_embeddings=16)),
    "mistral": ("MistralForCausalLM", dict(GROUPED, sliding_window=5)),
    "qwen2": ("Qwen2ForCausalLM", dict(GROUPED, use_sliding_window=True, sliding_window=7, max_window_layers=1)),
    "qwen3": ("Qwen3ForCausalLM", dict(GROUPED, head_dim=12)),
    "gemma": ("GemmaForCausalLM", dict(GROUPED, head_dim=12)),
    "gemma2": ("Gemma2ForCausalLM", dict(GROUPED, head_dim=12, sliding_window=5, query_pre_attn_scalar=20, attn_logit_softcapping=2.0,
                                        final_logit_softcapping=3.0)),
    "gemma3": ("Gemma3ForCausalLM", dict(GROUPED, num_hidden_layers=3, head_dim=12, sliding_window=6, query_pre_attn_scalar=20,
                                        layer_types=["sliding_attention", "full_attention", "sliding_attention"])),
    "phi3": ("Phi3ForCausalLM", dict(GROUPED, sliding_window=9)),
    "phi3_longrope": ("Phi3ForCausalLM", dict(GROUPED, original_max_position_embeddings=16, max_position_embeddings=64, rope_parameters=dict(
        rope_type="longrope", rope_theta=10000.0, partial_rotary_factor=0.75, short_factor=[1.0, 1.1, 1.3], long_factor=[1.0, 2.5, 4.0],
        original_max_position_embeddings=16, factor=4.0))),
    "gpt2": ("GPT2LMHeadModel", dict(vocab_size=24, n_embd=32, n_layer=2, n_head=4, n_positions=64, bos_token_id=1, eos_token_id=2,
                                    scale_attn_by_inverse_layer_idx=True)),
    "opt": ("OPTForCausalLM", dict(vocab_size=24, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, ffn_dim=40,
                                  max_position_embeddings=64, word_embed_proj_dim=32)),
    "opt_after": ("OPTForCausalLM", dict(vocab_size=24, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, ffn_dim=40,
                                        max_position_embeddings=64, word_embed_proj_dim=16, do_layer_norm_before=False)),
    "gpt_neox": ("GPTNeoXForCausalLM", dict(SIZES, rope_parameters=dict(rope_type="default", rope_theta=10000.0, partial_rotary_factor=0.5))),
    "gpt_neox_sequential": ("GPTNeoXForCausalLM", dict(SIZES, use_parallel_residual=False)),
    "mixtral": ("MixtralForCausalLM", dict(GROUPED, num_local_experts=4)),
    "qwen3_moe": ("Qwen3MoeForCausalLM", dict(GROUPED, head_dim=12, num_experts=5, num_experts_per_tok=2, moe_intermediate_size=20,
                                             mlp_only_layers=[1], norm_topk_prob=True)),
    "smollm3": ("SmolLM3ForCausalLM", dict(GROUPED, no_rope_layers=[1, 0])),
    "bert": ("BertModel", SIZES),
    "distilbert": ("DistilBertModel", dict(vocab_size=24, dim=32, n_layers=2, n_heads=4, hidden_dim=40, max_position_embeddings=64)),
    "roberta": ("RobertaModel", dict(SIZES, pad_token_id=1, max_position_embeddings=66)),
}


def draw(name, shape):
    """Uniform numbers from a hash of the name and the index, as the test has them."""
    seed = 0xCBF29CE484222325
    for byte in name.encode():
        seed = (seed ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.arange(1, int(np.prod(shape)) + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ z >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ z >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
        z = z ^ z >> np.uint64(31)
    u = ((z >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-23) - np.float32(1)).reshape(shape)
    if len(shape) == 2:
        return u if "emb" in name or "wte" in name or "wpe" in name else u * np.float32(0.3)
    return u * np.float32(0.2) if name.endswith("bias") else u * np.float32(0.2) + np.float32(1)


def expected(model, family):
    ids = torch.tensor([TOKENS])
    with torch.no_grad():
        if family in ("bert", "distilbert", "roberta"):
            mask = torch.ones_like(ids)
            mask[0, 30:] = 0
            ids[0, ids[0] == 1] = 3  # the id of padding, of which roberta counts positions
            return model(input_ids=ids, attention_mask=mask).last_hidden_state[0]
        return model(input_ids=ids).logits[0]


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())
    torch.set_num_threads(1)
    cases = []
    for name, (kind, config) in CASES.items():
        path = folder / name
        cls = getattr(transformers, kind)
        cls(cls.config_class(**config)).save_pretrained(path)
        tensors = {k: draw(k, v.shape) for k, v in load_file(path / "model.safetensors").items()}
        save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})
        model = cls.from_pretrained(path, attn_implementation="eager").eval()
        logits = expected(model, model.config.model_type).numpy().astype("<f4")
        cases.append({
            "name": name,
            "config": json.dumps(json.loads((path / "config.json").read_text())),
            "tensors": {k: list(v.shape) for k, v in tensors.items()},
            "expected": base64.b64encode(logits.tobytes()).decode(),
            "columns": logits.shape[1],
        })
    out = pathlib.Path(__file__).with_name("families.json")
    out.write_text(json.dumps({"tokens": TOKENS, "cases": cases}, indent=0))
    print(out.stat().st_size, "bytes of", out)


if __name__ == "__main__":
    main()
