"""Inputs on which the real models say something: noise makes a detector answer zero everywhere, and a test on zeros proves nothing."""
import pathlib

import numpy


def page(height, width, letters, seed=0):
    """A bright page with dark letter shapes in rows, as float 0..1, [height, width, 3]."""
    rng = numpy.random.default_rng(seed)
    picture = 0.92 + 0.04 * rng.random((height, width, 3))
    row, column, size = height // 8, width // 16, max(8, height // 8)
    strokes = [(0, 0, 1, 0.22), (0, 0.78, 1, 0.22), (0, 0, 0.2, 1), (0.4, 0, 0.2, 1), (0.8, 0, 0.2, 1)]
    for _ in range(letters):
        for y, x, h, w in (strokes[i] for i in rng.choice(len(strokes), 3, replace=False)):
            top, left = row + int(y * size), column + int(x * size * 0.7)
            picture[top:top + max(2, int(h * size)), left:left + max(2, int(w * size * 0.7))] = 0.08
        column += int(size * 0.9)
        if column + size > width:
            row, column = row + int(size * 1.6), width // 16
        if row + size > height:
            break
    return picture.astype(numpy.float32)


def channels_first(picture, mean, deviation):
    """Normalised as the networks were trained, [1, 3, height, width]."""
    return ((picture - numpy.float32(mean)) / numpy.float32(deviation)).transpose(2, 0, 1)[None].copy()


def sound(samples, rate, seed=0):
    """Two sines and some noise, -1..1."""
    t = numpy.arange(samples) / rate
    noise = numpy.random.default_rng(seed).normal(0, 0.02, samples)
    return (0.4 * numpy.sin(2 * numpy.pi * 220 * t) + 0.2 * numpy.sin(2 * numpy.pi * 555 * t) + noise).astype(numpy.float32)


def tokens(texts, length, seed=0):
    """Token ids as of two sentences of different lengths, the rest masked."""
    rng = numpy.random.default_rng(seed)
    ids = rng.integers(1000, 20000, (texts, length))
    mask = numpy.ones((texts, length), numpy.int64)
    mask[1:, length // 2:] = 0
    ids[:, 0] = 101
    ids[mask == 0] = 0
    return ids.astype(numpy.int64), mask


def sentence(length, seed=0):
    """What a sentence encoder takes for one text, by the names of its inputs."""
    ids, mask = tokens(1, length, seed)
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": numpy.zeros_like(ids)}


def file_bytes(path, window=1024, padding=256):
    """The beginning and the end of a file, as magika looks at it."""
    data = pathlib.Path(path).read_bytes().strip()
    begin = list(data[:window]) + [padding] * (window - len(data[:window]))
    end = [padding] * (window - len(data[-window:])) + list(data[-window:])
    return numpy.array([begin + end], numpy.int32)
