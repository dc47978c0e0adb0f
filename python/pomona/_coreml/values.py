"""Values as Core ML's Python interface has them, to and from the arrays that a program takes and gives.

A Taker checks and converts what is given for one input, a Giver makes what is returned of one output. What does not fit is
a RuntimeError with the text of the framework's, as callers match it.
"""

import numbers

import numpy

# Array types that the framework's interface accepts; the feature's own type need not be the same.
_ACCEPTED = {numpy.dtype(name) for name in ("float32", "float64", "int32", "int8", "float16")}
_GRAYSCALE, _RGB, _BGR, _GRAYSCALE_HALF = 10, 20, 30, 40
_PROGRAM_DTYPES = {"fp16": numpy.float16, "fp32": numpy.float32, "fp64": numpy.float64, "int8": numpy.int8,
                   "uint8": numpy.uint8, "int16": numpy.int16, "uint16": numpy.uint16, "int32": numpy.int32,
                   "uint32": numpy.uint32, "int64": numpy.int64, "bool": numpy.bool_}


def refusal(text):
    """An exception as the framework's errors appear in Python."""
    return RuntimeError('{\n    NSLocalizedDescription = "' + text + '";\n}')


def _sizes(shape):
    return " x ".join(str(size) for size in shape)


def numpy_dtype(name):
    return numpy.dtype(_PROGRAM_DTYPES[name])


class ArrayTaker:
    def __init__(self, feature):
        self.name = feature["name"]
        self.dtype = numpy_dtype(feature["value_dtype"])
        self.rank = feature["rank"]
        self.shape = tuple(feature["shape"]) if feature["shape"] else None
        self.ranges = feature["ranges"]
        self.enumerated = [tuple(shape) for shape in feature["enumerated"]]
        self.optional = feature["optional"]
        self.default = feature["default"]
        self.dims = feature["dims"]
        # What most calls bring needs nothing but one comparison.
        self._plain = self.shape if self.rank and not self.ranges and not self.enumerated else None

    def take(self, value):
        if type(value) is numpy.ndarray and value.dtype == self.dtype and value.shape == self._plain:
            return value
        array = self._array(value)
        if self.rank == 0 and array.size == 1:
            array = array.reshape(())
        else:
            if array.ndim == 0:
                array = array.reshape(1)
            self._check_shape(array.shape)
        # What does not fit (infinite, too large) becomes whatever the conversion makes of it, without a word.
        with numpy.errstate(all="ignore"):
            return numpy.ascontiguousarray(array, self.dtype).reshape(array.shape)

    def _array(self, value):
        if isinstance(value, numbers.Number) and not isinstance(value, numpy.ndarray):
            return numpy.asarray(value, numpy.float64)
        if not hasattr(value, "dtype"):
            value = self._from_buffer(value)
        array = numpy.asarray(value)
        # A number in Python has become an array of whatever type NumPy chose.
        if array.ndim and array.dtype not in _ACCEPTED:
            raise RuntimeError(f"value type not convertible: input '{self.name}' is an array of {array.dtype}; arrays of float32, "
                               "float64, int32 and int8 are")
        return array

    def _from_buffer(self, value):
        try:
            return numpy.asarray(memoryview(value))
        except TypeError:
            raise RuntimeError(f"value type not convertible: input '{self.name}' is a {type(value).__name__}") from None

    def _check_shape(self, shape):
        if self.enumerated:
            if tuple(shape) not in self.enumerated and tuple(shape) != self.shape:
                raise refusal(f"MultiArray Shape ({_sizes(shape)}) was not in enumerated set of allowed shapes")
        elif self.ranges:
            if len(shape) != len(self.ranges):
                raise refusal(f"MultiArray shape ({_sizes(shape)}) has {len(shape)} dimensions, but feature '{self.name}' "
                              f"has {len(self.ranges)}")
            for axis, (size, (lower, upper)) in enumerate(zip(shape, self.ranges)):
                if size < lower or (upper >= 0 and size > upper):
                    above = "inf" if upper < 0 else upper
                    raise refusal(f"Size ({size}) of dimension ({axis}) is not in allowed range ({lower}..{above})")
        elif self.shape is not None and tuple(shape) != self.shape:
            raise refusal(f"MultiArray shape ({_sizes(shape)}) does not match the shape ({_sizes(self.shape)}) specified in the "
                          f"model description of feature '{self.name}'")

    def missing(self):
        if not self.optional:
            raise refusal(f"Required input feature not passed to the model: {self.name}")
        shape = [size if isinstance(size, int) else given for size, given in zip(self.dims, self.shape or self.dims)]
        return numpy.full(shape, 0 if self.default is None else self.default, self.dtype)


class ImageTaker:
    def __init__(self, feature):
        self.name = feature["name"]
        self.dtype = numpy_dtype(feature["value_dtype"])
        self.color_space = feature["color_space"]
        self.size = tuple(feature["shape"] or ())
        self.ranges = feature["ranges"]
        self.enumerated = [tuple(shape) for shape in feature["enumerated"]]
        self.optional = feature["optional"]

    def take(self, value):
        mode = getattr(value, "mode", None)
        if mode is None:
            raise refusal(f"Value type not convertible: feature '{self.name}' is an image, not a {type(value).__name__}")
        if mode not in ("RGB", "RGBA", "L", "F"):
            raise RuntimeError(f"value type not convertible: an image of mode '{mode}'; RGB, RGBA, L and F are")
        self._check_size(value.height, value.width)
        if self.color_space in (_RGB, _BGR):
            if mode not in ("RGB", "RGBA"):
                raise refusal(f"Image feature '{self.name}' is a colour image, not one of mode '{mode}'")
            pixels = numpy.asarray(value)[:, :, :3]
            if self.color_space == _BGR:
                pixels = pixels[:, :, ::-1]
            return numpy.ascontiguousarray(pixels.transpose(2, 0, 1)[None], self.dtype)
        wanted = "F" if self.color_space == _GRAYSCALE_HALF else "L"
        if mode != wanted:
            raise refusal(f"Image feature '{self.name}' takes images of mode '{wanted}', not '{mode}'")
        return numpy.ascontiguousarray(numpy.asarray(value)[None, None], self.dtype)

    def _check_size(self, height, width):
        if self.enumerated:
            allowed = (height, width) in self.enumerated or (height, width) == self.size
        elif self.ranges:
            allowed = all(size >= lower and (upper < 0 or size <= upper)
                          for size, (lower, upper) in zip((height, width), self.ranges))
        else:
            allowed = (height, width) == self.size
        if not allowed:
            raise refusal(f"Image size {width} x {height} not in allowed set of image sizes")

    def missing(self):
        raise refusal(f"Required input feature not passed to the model: {self.name}")


def taker(feature):
    return (ImageTaker if feature["kind"] == "image" else ArrayTaker)(feature)


def give_array(value):
    """There are no arrays without dimensions outside; float16 has become float32 before."""
    return value.reshape(1) if value.ndim == 0 else value


def give_int(value):
    return int(numpy.asarray(value).reshape(-1)[0])


def give_real(value):
    return float(numpy.asarray(value).reshape(-1)[0])


def give_text(value):
    return value.reshape(-1)[0] if isinstance(value, numpy.ndarray) else value


def give_dictionary(value):
    return {key: float(number) for key, number in value.items()}


def give_sequence(value):
    return [each.item() if isinstance(each, numpy.ndarray) else each for each in value]


def image_giver(color_space):
    def give(value):
        from PIL import Image
        if color_space == _GRAYSCALE_HALF:
            return Image.fromarray(numpy.asarray(value[0, 0], numpy.float32))
        levels = numpy.nan_to_num(numpy.clip(numpy.rint(value[0]), 0, 255)).astype(numpy.uint8)
        if color_space == _GRAYSCALE:
            return Image.fromarray(levels[0])
        if color_space == _BGR:
            levels = levels[::-1]
        opaque = numpy.full_like(levels[:1], 255)
        return Image.fromarray(numpy.ascontiguousarray(numpy.concatenate([levels, opaque]).transpose(1, 2, 0)))
    return give


def array_giver(dtype):
    """A feature may be declared with another type than the program computes."""
    wanted = numpy.dtype(numpy.float32) if dtype in ("fp16", "fp32") else numpy_dtype(dtype)

    def give(value):
        return give_array(value if value.dtype == wanted else value.astype(wanted))
    return give


_GIVERS = {"int64": give_int, "real": give_real, "string": give_text, "dictionary": give_dictionary,
           "sequence": give_sequence}


def giver(feature):
    if feature["kind"] == "image":
        return image_giver(feature["color_space"])
    if feature["kind"] == "array":
        return array_giver(feature["dtype"])
    return _GIVERS[feature["kind"]]
