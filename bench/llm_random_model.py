"""Writes a GGUF of a llama of 1.1B parameters with random weights, in F16: speed does not depend on what it says.

  bench/llm_random_model.py tokenizer-of.gguf out.gguf

The tokenizer is that of another GGUF. Quantise the result with llama.cpp's own tool.
"""
import sys

import gguf
import numpy as np

WIDTH, HIDDEN, LAYERS, HEADS, KV_HEADS = 2048, 5632, 22, 32, 4


def copy_tokenizer(reader, writer):
    for field in reader.fields.values():
        if field.name.startswith("tokenizer."):
            kind = field.types[0]
            inner = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(field.name, field.contents(), kind, sub_type=inner)


def main():
    reader = gguf.GGUFReader(sys.argv[1])
    writer = gguf.GGUFWriter(sys.argv[2], "llama")
    vocabulary = len(reader.fields["tokenizer.ggml.tokens"].contents())
    writer.add_context_length(4096)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(vocabulary)
    copy_tokenizer(reader, writer)
    random = np.random.default_rng(0)
    kv = WIDTH // HEADS * KV_HEADS

    def add(name, rows, depth):
        matrix = random.standard_normal((rows, depth), dtype=np.float32) * 0.02
        writer.add_tensor(name, matrix.astype(np.float16))

    add("token_embd.weight", vocabulary, WIDTH)
    add("output.weight", vocabulary, WIDTH)
    writer.add_tensor("output_norm.weight", np.ones(WIDTH, np.float32))
    for i in range(LAYERS):
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{i}.{name}.weight", np.ones(WIDTH, np.float32))
        for name, rows, depth in (("attn_q", WIDTH, WIDTH), ("attn_k", kv, WIDTH), ("attn_v", kv, WIDTH),
                                  ("attn_output", WIDTH, WIDTH), ("ffn_gate", HIDDEN, WIDTH),
                                  ("ffn_up", HIDDEN, WIDTH), ("ffn_down", WIDTH, HIDDEN)):
            add(f"blk.{i}.{name}.weight", rows, depth)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
