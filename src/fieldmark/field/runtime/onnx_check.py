"""A network must be whole in its own file: ONNX can name other files to read, and no bundle may.

The walk reads the protobuf wire format (https://protobuf.dev/programming-guides/encoding) and goes only into what can
hold a tensor; the numbers of fields are those of onnx.proto.
"""

from collections.abc import Iterator

from fieldmark.errors import BundleError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
FIXED_SIZES = {FIXED64: 8, FIXED32: 4}
MAX_DEPTH = 64
MAX_FIELDS = 5_000_000
MAX_KEY = 2**32 - 1
ORT_FORMAT = b"ORTM"  # ONNX Runtime's own format, which it would take as well
GRAPH, EXTERNAL_DATA, DATA_LOCATION = 7, 13, 14
INSIDE = {  # message -> field -> the message in it
    "model": {GRAPH: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}


def check_onnx(data: bytes) -> None:
    """BundleError for what is no ONNX model, and for a model with tensors in other files."""
    if data[4:8] == ORT_FORMAT:
        raise _no_model()
    view = memoryview(data)
    graphs, fields = 0, 0
    todo = [("model", 0, len(view), 0)]
    while todo:
        kind, start, end, depth = todo.pop()
        if depth > MAX_DEPTH:
            raise _no_model()
        for number, wire, begin, stop in _fields(view, start, end):
            fields += 1
            if fields > MAX_FIELDS:
                raise _no_model()
            if kind == "tensor" and (number == EXTERNAL_DATA or (number == DATA_LOCATION and any(view[begin:stop]))):
                raise BundleError("its network reads files outside the bundle; do not use it")
            inner = INSIDE[kind].get(number)
            if inner is not None:
                if wire != BYTES:
                    raise _no_model()
                todo.append((inner, begin, stop, depth + 1))
                graphs += kind == "model" and number == GRAPH
    if not graphs:
        raise _no_model()


def _fields(view: memoryview, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Number, wire type and the place (from, to) of the value of each field of a message."""
    while at < end:
        key, at = _varint(view, at, end)
        number, wire = key >> 3, key & 7
        begin = at
        if wire == VARINT:
            at = _varint(view, at, end)[1]
        elif wire == BYTES:
            size, begin = _varint(view, at, end)
            at = begin + size
        elif wire in FIXED_SIZES:
            at += FIXED_SIZES[wire]
        else:  # groups, which ONNX does not have
            raise _no_model()
        if number == 0 or key > MAX_KEY or at > end:
            raise _no_model()
        yield number, wire, begin, at


def _varint(view: memoryview, at: int, end: int) -> tuple[int, int]:
    """A number of up to ten bytes of seven bits each, lowest first, and the place after it."""
    value = shift = 0
    while at < end and shift < 70:
        byte = view[at]
        value |= (byte & 127) << shift
        at += 1
        if byte < 128:
            return value, at
        shift += 7
    raise _no_model()


def _no_model() -> BundleError:
    return BundleError("its network is no valid ONNX model; copy the bundle again or train it anew")
