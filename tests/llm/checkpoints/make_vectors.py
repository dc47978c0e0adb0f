"""Makes the folders beside it: small checkpoints as each quantiser writes them (config.json, model.safetensors), and what
that quantiser's own library decodes them to (expected.safetensors, fp32). The truth is mlx, mlx_lm (AWQ), compressed-tensors
and bitsandbytes; GPTQ and block fp8 are written from their definitions. Usage: python make_vectors.py (wants torch, numpy,
safetensors, mlx, mlx-lm, compressed-tensors, bitsandbytes)."""

import json
import pathlib
import shutil

import numpy as np
import torch
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).parent
torch.manual_seed(3)
RANDOM = np.random.default_rng(3)


def write(name, settings, tensors, expected, key="quantization_config"):
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "test", key: settings}, indent=1) + "\n")
    save_file({k: v.contiguous() for k, v in tensors.items()}, folder / "model.safetensors")
    save_file({k: v.float().contiguous() for k, v in expected.items()}, folder / "expected.safetensors")


def of_mlx(array):
    import mlx.core as mx

    if array.dtype == mx.bfloat16:
        return torch.from_numpy(np.array(array.view(mx.uint16))).view(torch.bfloat16)
    return torch.from_numpy(np.array(array))


def mlx_checkpoints():
    import mlx.core as mx

    tensors, expected = {}, {}
    own = {"group_size": 64, "bits": 4}
    cases = [("affine", b, g, mx.float16) for b, g in [(2, 32), (2, 64), (3, 64), (4, 64), (5, 32), (6, 64), (8, 128)]]
    cases += [("affine", 4, 64, mx.bfloat16), ("mxfp4", 4, 32, mx.float16), ("mxfp8", 8, 32, mx.float16), ("nvfp4", 4, 16, mx.float16)]
    for mode, bits, group, dtype in cases:
        name = f"{mode}{bits}g{group}{'bf' if dtype == mx.bfloat16 else ''}"
        weight = mx.array(RANDOM.standard_normal((6, 128)).astype(np.float32) * 0.05).astype(dtype)
        parts = mx.quantize(weight, group_size=group, bits=bits, mode=mode)
        for suffix, part in zip(["weight", "scales", "biases"], parts):
            tensors[f"{name}.{suffix}"] = of_mlx(part)
        own[name] = {"group_size": group, "bits": bits} | ({} if mode == "affine" else {"mode": mode})
        if mode == "affine":  # in fp32, so that only this arithmetic is compared
            parts = [parts[0], parts[1].astype(mx.float32), parts[2].astype(mx.float32)]
        decoded = mx.dequantize(*parts, group_size=group, bits=bits, mode=mode)
        expected[f"{name}.weight"] = of_mlx(decoded.astype(mx.float32))
    stack = mx.array(RANDOM.standard_normal((3, 4, 64)).astype(np.float32)).astype(mx.float16)
    parts = mx.quantize(stack, group_size=64, bits=4)
    for suffix, part in zip(["weight", "scales", "biases"], parts):
        tensors[f"layers.0.block_sparse_moe.switch_mlp.down_proj.{suffix}"] = of_mlx(part)
    decoded = mx.dequantize(parts[0], parts[1].astype(mx.float32), parts[2].astype(mx.float32), group_size=64, bits=4)
    for i in range(3):
        expected[f"layers.0.block_sparse_moe.experts.{i}.w2.weight"] = of_mlx(decoded)[i]
    tensors["norm.weight"] = torch.randn(8).to(torch.bfloat16)
    expected["norm.weight"] = tensors["norm.weight"]
    write("mlx", own, tensors, expected, "quantization")


def awq_checkpoint():
    import mlx.core as mx
    from mlx_lm.utils import _transform_awq_weights

    words = RANDOM.integers(-(2**31), 2**31, (64, 3), dtype=np.int64).astype(np.int32)
    zeros = RANDOM.integers(-(2**31), 2**31, (2, 3), dtype=np.int64).astype(np.int32)
    scales = (RANDOM.random((2, 24)) * 0.02 + 0.001).astype(np.float16)
    tensors = {"a.qweight": words, "a.qzeros": zeros, "a.scales": scales}
    arrays = {k: mx.array(v if v.dtype == np.float16 else v.view(np.uint32)) for k, v in tensors.items()}
    arrays["a.scales"] = arrays["a.scales"].astype(mx.float32)
    settings = {"quant_method": "awq", "bits": 4, "group_size": 32, "version": "gemm", "zero_point": True}
    new, _ = _transform_awq_weights(arrays, settings)
    decoded = mx.dequantize(new["a.weight"], new["a.scales"], new["a.biases"], group_size=32, bits=4)
    write("awq", settings, {k: torch.from_numpy(v) for k, v in tensors.items()}, {"a.weight": of_mlx(decoded)})


def pack_columns(codes, bits):
    """Codes [n, columns] as a stream of bits down each column of int32 words, as GPTQ has them."""
    n, columns = codes.shape
    stream = ((codes[:, None, :] >> np.arange(bits)[None, :, None]) & 1).reshape(n * bits, columns)
    stream = np.concatenate([stream, np.zeros((-len(stream) % 32, columns), stream.dtype)])
    words = (stream.reshape(-1, 32, columns).astype(np.uint64) << np.arange(32, dtype=np.uint64)[None, :, None]).sum(1)
    return words.astype(np.uint32).view(np.int32)


def gptq_checkpoints():
    rows, columns, group = 24, 64, 32
    for name, version, ordered in [("gptq", "gptq", False), ("gptq_v2", "gptq_v2", False), ("gptq_ordered", "gptq", True)]:
        for bits in (2, 3, 4, 8) if name == "gptq" else (4,):
            codes = RANDOM.integers(0, 2**bits, (columns, rows))
            stored = RANDOM.integers(0, 2**bits, (columns // group, rows))
            scales = (RANDOM.random((columns // group, rows)) * 0.02 + 0.001).astype(np.float16)
            of = np.arange(columns) // group
            if ordered:
                RANDOM.shuffle(of)
            zeros = stored + (version == "gptq")  # version 1 stores them less one, so they reach 2^bits
            expected = (codes - zeros[of]) * scales[of].astype(np.float32)
            tensors = {
                "a.qweight": pack_columns(codes, bits),
                "a.qzeros": np.ascontiguousarray(pack_columns(stored.T, bits).T),
                "a.scales": scales,
                "a.g_idx": of.astype(np.int32),
            }
            settings = {"quant_method": "gptq", "bits": bits, "group_size": group, "desc_act": ordered, "checkpoint_format": version}
            folder = name if bits == 4 else f"{name}{bits}"
            write(folder, settings, {k: torch.from_numpy(v) for k, v in tensors.items()},
                  {"a.weight": torch.from_numpy(expected.T.astype(np.float32).copy())})  # fmt: skip


def compressed_tensors_checkpoints():
    from compressed_tensors.compressors import NaiveQuantizationCompressor, NVFP4PackedCompressor, PackedQuantizationCompressor
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
    from compressed_tensors.quantization.utils import calculate_qparams

    tensors, expected = {}, {}

    def add(name, compressor, weight, groups, args, extra=None):
        scheme = QuantizationScheme(targets=["Linear"], weights=args)
        split = weight.reshape(weight.shape[0], groups, -1) if groups else weight.reshape(1, 1, -1)
        scale, zero = calculate_qparams(split.amin(-1), split.amax(-1), args)
        state = {"weight": weight, "weight_scale": scale, "weight_zero_point": zero} | (extra or {})
        packed = compressor.compress(state, scheme)
        for key, value in packed.items():
            tensors[f"{name}.{key}"] = value
        expected[f"{name}.weight"] = compressor.decompress(dict(packed), scheme)["weight"]

    weight = torch.randn(16, 64) * 0.05
    for symmetric in (True, False):
        kind = "sym" if symmetric else "asym"
        args = QuantizationArgs(num_bits=4, type="int", strategy="group", group_size=32, symmetric=symmetric)
        add(f"pack4{kind}", PackedQuantizationCompressor, weight, 2, args)
        args = QuantizationArgs(num_bits=8, type="int", strategy="channel", symmetric=symmetric)
        add(f"pack8{kind}", PackedQuantizationCompressor, weight, 1, args)
        add(f"int8{kind}", NaiveQuantizationCompressor, weight, 1, args)
    add("fp8", NaiveQuantizationCompressor, weight, 1, QuantizationArgs(num_bits=8, type="float", strategy="channel"))
    write("compressed_tensors", {"quant_method": "compressed-tensors", "format": "mixed", "config_groups": {}}, tensors, expected)


def bitsandbytes_checkpoint():
    import bitsandbytes as bnb

    tensors, expected = {}, {}
    # Rows of 96 are no multiple of the block; nested statistics need more than 256 blocks to be interesting.
    for name, kind, nested, shape in [("nf4", "nf4", False, (6, 128)), ("fp4", "fp4", False, (6, 128)), ("ragged", "nf4", False, (4, 96)),
                                      ("nested", "nf4", True, (140, 128))]:  # fmt: skip
        weight = torch.randn(shape) * 0.05
        codes, state = bnb.functional.quantize_4bit(weight, quant_type=kind, compress_statistics=nested, blocksize=64)
        tensors[f"{name}.weight"] = codes
        for key, value in state.as_dict(packed=True).items():
            tensors[f"{name}.weight.{key}"] = value
        expected[f"{name}.weight"] = bnb.functional.dequantize_4bit(codes, state)
        if name == "ragged":  # the library's CPU kernel takes rows for multiples of the block; its quantiser does not
            flat = torch.stack([codes.flatten() >> 4, codes.flatten() & 15], 1).flatten().long()
            decoded = state.code[flat] * state.absmax.repeat_interleave(64)[: weight.numel()]
            assert (decoded.reshape(shape) - weight).abs().max() < 0.03
            expected[f"{name}.weight"] = decoded.reshape(shape)
    weight = torch.randn(6, 32) * 0.05
    scale = weight.abs().amax(1)
    tensors["eight.weight"] = torch.round(weight / scale[:, None] * 127).to(torch.int8)
    tensors["eight.SCB"] = scale
    tensors["eight.weight_format"] = torch.tensor(0, dtype=torch.uint8)
    expected["eight.weight"] = bnb.functional.int8_vectorwise_dequant(tensors["eight.weight"], scale)
    write("bitsandbytes", {"quant_method": "bitsandbytes", "load_in_4bit": True}, tensors, expected)


def fp8_checkpoint():
    weight = torch.randn(20, 48)  # blocks of 16 x 16: the last rows fill half of one
    codes = (weight * 64).to(torch.float8_e4m3fn)
    scales = torch.rand(2, 3) * 0.01 + 0.001
    spread = scales.repeat_interleave(16, 0)[:20].repeat_interleave(16, 1)
    tensors = {"a.weight": codes, "a.weight_scale_inv": scales, "b.weight": codes.clone(), "b.weight_scale": torch.tensor(0.25),
               "b.input_scale": torch.tensor(1.0)}  # fmt: skip
    expected = {"a.weight": codes.float() * spread, "b.weight": codes.float() * 0.25}
    write("fp8", {"quant_method": "fp8", "weight_block_size": [16, 16]}, tensors, expected)


if __name__ == "__main__":
    mlx_checkpoints()
    awq_checkpoint()
    gptq_checkpoints()
    compressed_tensors_checkpoints()
    bitsandbytes_checkpoint()
    fp8_checkpoint()
