"""Models with one thing wrong: in small real ones each field of each kind of protobuf message is left out, and given another wire type, at the first,
the last and a middle place where it occurs. Each must convert all the same or end with an error that says where; nothing may crash or hang.
"""
import concurrent.futures
import os
import pathlib
import subprocess
import sys
import tempfile

import onnx

MODELS = pathlib.Path(os.environ["POMONA_MODELS"])
POMONA = os.environ["POMONA_BINARY"]
LIGHT = pathlib.Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
SOURCES = [LIGHT / "light_squeezenet.onnx", MODELS / "basic-pitch" / "nmp.onnx", MODELS / "silero-vad" / "silero_vad_16k_op15.onnx"]
PLACES = 3
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


def read_varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out + bytes([value]))


class Field:
    def __init__(self, number, kind, payload, inner):
        self.number, self.kind, self.payload, self.inner = number, kind, payload, inner

    def encoded(self, replaced):
        if self in replaced:
            return replaced[self]
        body = b"".join(f.encoded(replaced) for f in self.inner) if self.inner is not None else self.payload
        return varint(self.number << 3 | self.kind) + (varint(len(body)) if self.kind == BYTES else b"") + body


def parse(data, descriptor, seen):
    """The fields of a message; `seen` collects them by the message's and the field's name."""
    fields, at = [], 0
    while at < len(data):
        key, at = read_varint(data, at)
        number, kind = key >> 3, key & 7
        known = descriptor.fields_by_number.get(number)
        inner = None
        if kind == VARINT:
            _, end = read_varint(data, at)
        elif kind == BYTES:
            length, at = read_varint(data, at)
            end = at + length
            if known is not None and known.message_type is not None:
                inner = parse(data[at:end], known.message_type, seen)
        else:
            end = at + (8 if kind == FIXED64 else 4)
        fields.append(Field(number, kind, data[at:end], inner))
        at = end
        if known is not None:
            seen.setdefault((descriptor.name, known.name), []).append(fields[-1])
    return fields


def broken_in_turn(source):
    seen = {}
    top = parse(source.read_bytes(), onnx.ModelProto.DESCRIPTOR, seen)
    for (message, name), all_places in seen.items():
        for at in sorted({i * (len(all_places) - 1) // (PLACES - 1) for i in range(PLACES)}):
            field = all_places[at]
            other = varint(field.number << 3 | BYTES) + b"\x03\xff\x00\x81" if field.kind != BYTES else varint(field.number << 3 | VARINT) + varint(1 << 40)
            for how, bytes_there in (("left out", b""), ("of another type", other)):
                yield f"{source.name}: {message}.{name} {how} ({at + 1} of {len(all_places)})", b"".join(f.encoded({field: bytes_there}) for f in top)


def problem_with(model, folder, number):
    """None, or what is wrong with how the program ended."""
    path = folder / f"{number}.onnx"
    path.write_bytes(model)
    try:
        done = subprocess.run([POMONA, "convert", str(path), "-o", str(folder / f"{number}.mlpackage"), "--dry-run"], capture_output=True, text=True, timeout=20)
    except subprocess.TimeoutExpired:
        return "it did not end"
    finally:
        path.unlink()
    if done.returncode == 0:
        return None
    if done.returncode != 2:
        return f"it ended with {done.returncode}: {done.stderr[-300:]}"
    located = "\n  at " in done.stderr or path.name in done.stderr
    return None if done.stderr.startswith("error: ") and located else f"the error says no place: {done.stderr}"


def main():
    count, failed = 0, []
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as name, concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        waiting = []
        for source in SOURCES:
            for words, model in broken_in_turn(source):
                waiting.append((words, pool.submit(problem_with, model, pathlib.Path(name), len(waiting))))
        for words, ended in waiting:
            count += 1
            if ended.result():
                failed.append(f"{words}: {ended.result()}")
    print("\n".join(failed))
    print(f"{count} models, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
