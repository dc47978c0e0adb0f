"""Makes smollm2.json: what transformers reads from the GGUF file of SmolLM2, tensor by tensor (name, sizes, CRC-32 of the
fp32 elements), and its configuration. Usage: python smollm2_vectors.py FOLDER (wants torch, transformers and gguf)."""

import json
import pathlib
import sys
import zlib

import torch
from transformers import AutoModelForCausalLM

FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


def main():
    model = AutoModelForCausalLM.from_pretrained(sys.argv[1], gguf_file=FILE, dtype=torch.float32)
    tensors = {
        name: [list(value.shape), zlib.crc32(value.contiguous().numpy().tobytes())]
        for name, value in model.state_dict().items()
        if name != "lm_head.weight"
    }
    config = model.config.to_dict()
    wanted = ["model_type", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
              "rms_norm_eps", "vocab_size", "max_position_embeddings", "bos_token_id", "eos_token_id", "head_dim"]  # fmt: skip
    result = {"config": {key: config[key] for key in wanted}, "rope_theta": config["rope_parameters"]["rope_theta"],
              "tie_word_embeddings": config["tie_word_embeddings"], "tensors": tensors}  # fmt: skip
    lines = json.dumps(result, indent=1).replace("[\n   [\n    ", "[[").replace("\n   ],\n   ", "], ").replace("\n  ]", "]")
    pathlib.Path(__file__).with_name("smollm2.json").write_text(lines.replace(",\n    ", ", ") + "\n")


main()
