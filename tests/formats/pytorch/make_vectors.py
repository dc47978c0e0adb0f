"""Makes weights.pt (what torch.save writes of a state dictionary with every kind of element, views, transposed and shared
tensors), expected.safetensors (the same as fp32) and hostile.pt, which runs a command when Python loads it. Usage: python
make_vectors.py (wants torch and safetensors)."""

import collections
import os
import pathlib

import torch
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).parent
torch.manual_seed(5)


class Hostile:
    def __reduce__(self):
        return os.system, ("touch /tmp/pomona-was-here",)


def main():
    base = torch.randn(6, 8)
    tensors = collections.OrderedDict()
    for dtype in (torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn, torch.float8_e5m2):
        tensors[str(dtype)[6:]] = base.to(dtype)
    for dtype in (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool):
        tensors[str(dtype)[6:]] = (base * 20).abs().to(dtype)
    tensors["shared"] = tensors["float32"]
    tensors["transposed"] = base.T
    tensors["rows"] = base[2:4]
    tensors["column"] = base[:, 3]
    tensors["expanded"] = torch.tensor([1.5, 2.5]).expand(3, 2)
    tensors["scalar"] = torch.tensor(4.0)
    tensors["empty"] = torch.zeros(0, 3)
    tensors["parameter"] = torch.nn.Parameter(base[0].clone())
    torch.save({"state_dict": tensors}, HERE / "weights.pt")
    save_file({k: v.detach().float().contiguous().clone() for k, v in tensors.items()}, HERE / "expected.safetensors")
    torch.save({"weight": base, "more": Hostile()}, HERE / "hostile.pt")


main()
