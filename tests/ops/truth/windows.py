"""NumPy convolution and pooling over any number of spatial dims, written from their definitions."""

import itertools

import numpy as np


def paddings(pad_type, pad, spatial, kernel, strides, dilations):
    """[(before, after)] per spatial dim."""
    if pad_type == "valid":
        return [(0, 0)] * len(spatial)
    if pad_type == "custom":
        return [(int(pad[2 * k]), int(pad[2 * k + 1])) for k in range(len(spatial))]
    result = []
    for n, k, s, d in zip(spatial, kernel, strides, dilations):
        total = max(0, (-(-n // s) - 1) * s + d * (k - 1) + 1 - n)
        small = total // 2
        result.append((small, total - small) if pad_type == "same" else (total - small, small))
    return result


def conv(x, weight, bias, strides, pads, dilations, groups):
    kernel = weight.shape[2:]
    x = np.pad(x, [(0, 0), (0, 0)] + list(pads))
    size = [(n - d * (k - 1) - 1) // s + 1 for n, k, s, d in zip(x.shape[2:], kernel, strides, dilations)]
    out = np.zeros((x.shape[0], weight.shape[0], *size))
    inputs, outputs = weight.shape[1], weight.shape[0] // groups
    for g in range(groups):
        part, w = x[:, g * inputs : (g + 1) * inputs], weight[g * outputs : (g + 1) * outputs]
        for position in itertools.product(*[range(k) for k in kernel]):
            window = tuple(
                slice(p * d, p * d + s * (n - 1) + 1, s) for p, d, s, n in zip(position, dilations, strides, size)
            )
            taps = part[(slice(None), slice(None)) + window]
            out[:, g * outputs : (g + 1) * outputs] += np.einsum(
                "nc...,oc->no...", taps, w[(slice(None), slice(None)) + position]
            )
    return out if bias is None else out + bias.reshape((1, -1) + (1,) * len(kernel))


def conv_transpose(x, weight, bias, strides, crop_before, size, dilations, groups):
    """Scatters every input element; keeps `size` outputs from `crop_before` on (zeros beyond the natural extent)."""
    kernel = weight.shape[2:]
    outputs, inputs = weight.shape[1], weight.shape[0] // groups
    full = [
        max((n - 1) * s + d * (k - 1) + 1, c + t)
        for n, s, d, k, c, t in zip(x.shape[2:], strides, dilations, kernel, crop_before, size)
    ]
    out = np.zeros((x.shape[0], outputs * groups, *full))
    for g in range(groups):
        part, w = x[:, g * inputs : (g + 1) * inputs], weight[g * inputs : (g + 1) * inputs]
        for position in itertools.product(*[range(k) for k in kernel]):
            window = tuple(
                slice(p * d, p * d + s * (n - 1) + 1, s)
                for p, d, s, n in zip(position, dilations, strides, x.shape[2:])
            )
            added = np.einsum("nc...,co->no...", part, w[(slice(None), slice(None)) + position])
            out[(slice(None), slice(g * outputs, (g + 1) * outputs)) + window] += added
    out = out[(slice(None), slice(None)) + tuple(slice(c, c + t) for c, t in zip(crop_before, size))]
    return out if bias is None else out + bias.reshape((1, -1) + (1,) * len(kernel))


def pool_size(n, k, s, before, after, ceil_mode):
    if not ceil_mode:
        return (n + before + after - k) // s + 1
    out = (n + before + after - k + s - 1) // s + 1
    return out - 1 if before + after > 0 and (out - 1) * s >= n + before else out


def pool(x, kind, kernel, strides, pads, ceil_mode=False, exclude_padding=False):
    spatial = x.shape[2:]
    size = [pool_size(n, k, s, b, a, ceil_mode) for n, k, s, (b, a) in zip(spatial, kernel, strides, pads)]
    out = np.zeros((*x.shape[:2], *size))
    for position in itertools.product(*[range(n) for n in size]):
        window, counted = [], 1
        for p, n, k, s, (b, a) in zip(position, spatial, kernel, strides, pads):
            start = p * s - b
            window.append(slice(max(start, 0), min(start + k, n)))
            counted *= min(start + k, n + a) - start  # a window hanging over the padding's end counts only up to it
        taps = x[(slice(None), slice(None)) + tuple(window)]
        taps = taps.reshape(*x.shape[:2], int(np.prod(taps.shape[2:])))
        if kind == "max":
            value = taps.max(axis=-1)
        elif kind == "l2":
            value = np.sqrt((taps * taps).sum(axis=-1))
        else:
            value = taps.sum(axis=-1) / (taps.shape[-1] if exclude_padding else counted)
        out[(slice(None), slice(None)) + position] = value
    return out
