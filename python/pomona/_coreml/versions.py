"""The lowest specification version that a model needs, as the framework's format library finds it for a newly saved model."""

_OPSETS = {"CoreML5": 6, "CoreML6": 7, "CoreML7": 8, "CoreML8": 9, "CoreML9": 10}


def lowest_version(spec):
    """The same model (a message), its version lowered to what its operator sets need; versions of other kinds are kept."""
    from coremltools import proto
    if isinstance(spec, bytes):
        message = proto.Model_pb2.Model()
        message.ParseFromString(spec)
        return lowest_version(message).SerializeToString()
    if spec.WhichOneof("Type") == "mlProgram":
        needed = [_OPSETS[function.opset] for function in spec.mlProgram.functions.values() if function.opset in _OPSETS]
        if needed:
            spec.specificationVersion = max(needed)
    return spec
