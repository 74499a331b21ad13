"""Small pictures, data sets, networks and bundles for the tests."""

import io
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from safetensors.numpy import save as save_safetensors

from fieldmark import bundle as bundles
from fieldmark.bundle import Bundle
from fieldmark.bundle import load as load_bundle
from fieldmark.field.runtime import Recogniser

CLASSES = ("ash", "beech", "cedar")
SIZE = 16
CELLS = SIZE // 4
FEATURES, MAPS = 4, 2


def smooth(width: int, height: int, seed: int = 0) -> np.ndarray:
    """A smooth colourful picture, uint8 [H, W, 3], without symmetry."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    waves = [np.sin(a * x + b * y + c) for a, b, c in rng.uniform(0.5, 3, (3, 3))]
    return np.uint8(np.clip(127 + 120 * np.stack(waves, -1), 0, 255))


def encoded(image: Image.Image | np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    """A picture as the bytes of a file."""
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def write_picture(path: Path, seed: int = 0, size_wh: tuple[int, int] = (24, 20)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(smooth(*size_wh, seed), "PNG" if path.suffix == ".png" else "JPEG"))
    return path


def turned(image: Image.Image, orientation: int, kind: str = "JPEG") -> bytes:
    """A picture as a file whose EXIF says how to turn it."""
    exif = Image.Exif()
    exif[274] = orientation
    return encoded(image, kind, exif=exif)


def class_folders(root: Path, counts: dict[str, int]) -> Path:
    """A folder of class folders with so many pictures each, all different."""
    for k, (name, count) in enumerate(counts.items()):
        for i in range(count):
            write_picture(root / name / f"{i:03d}.png", seed=1000 * k + i)
    return root


def huge_png(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header claims an enormous picture."""
    whole = encoded(np.zeros((2, 2, 3), np.uint8))
    chunk = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + whole[24:29]
    return whole[:12] + chunk + zlib.crc32(chunk).to_bytes(4, "big") + whole[33:]


def network_weights(seed: int = 0, n_classes: int = len(CLASSES)) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "patch": rng.normal(0, 0.3, (FEATURES, 3, 4, 4)).astype(np.float32),
        "look": rng.normal(0, 1, (MAPS, FEATURES, 1, 1)).astype(np.float32),
        "head.weight": rng.normal(0, 2, (n_classes, MAPS * FEATURES)).astype(np.float32),
        "head.bias": rng.normal(0, 0.5, n_classes).astype(np.float32),
    }


def tiny_onnx(weights: dict[str, np.ndarray], gain: str = "identity") -> bytes:
    """Patches, attention maps, pooling and a linear head, with the inputs and outputs of a real bundle."""
    n = helper.make_node
    nodes = [
        n("Cast", ["pictures"], ["float"], to=TensorProto.FLOAT),
        n("Mul", ["float", "unit"], ["scaled"]),
        n("Transpose", ["scaled"], ["planes"], perm=[0, 3, 1, 2]),
        n("Conv", ["planes", "patch"], ["raw"], strides=[4, 4]),
        n("Relu", ["raw"], ["features"]),
        n("Conv", ["features", "look"], ["scores"]),
        n("Reshape", ["scores", "flat"], ["flat_scores"]),
        n("Softmax", ["flat_scores"], ["flat_attention"], axis=-1),
        n("Reshape", ["flat_attention", "grid"], ["attention"]),
        n("Reshape", ["features", "flat"], ["flat_features"]),
        n("Transpose", ["flat_features"], ["positions"], perm=[0, 2, 1]),
        n("MatMul", ["flat_attention", "positions"], ["pooled"]),
        n("Reshape", ["pooled", "one"], ["pooled_row"]),
        n("Sqrt" if gain == "sqrt" else "Identity", ["pooled_row"], ["embedding"]),
        n("Gemm", ["embedding", "head.weight", "head.bias"], ["logits"], transB=1),
    ]
    constants = {
        **weights,
        "unit": np.float32(1 / 255),
        "flat": np.array([0, 0, -1]),
        "grid": np.array([0, 0, CELLS, CELLS]),
        "one": np.array([0, MAPS * FEATURES]),
    }
    n_classes = len(weights["head.bias"])
    shapes = {
        "logits": ["N", n_classes],
        "attention": ["N", MAPS, CELLS, CELLS],
        "embedding": ["N", MAPS * FEATURES],
        "features": ["N", FEATURES, CELLS, CELLS],
    }
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("pictures", TensorProto.UINT8, ["N", SIZE, SIZE, 3])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def by_hand(weights: dict[str, np.ndarray], pictures: np.ndarray, gain: str = "identity") -> dict[str, np.ndarray]:
    """What the tiny network answers, in plain numpy and float64."""
    count = len(pictures)
    patches = pictures.reshape(count, CELLS, 4, CELLS, 4, 3) / 255
    features = np.maximum(np.einsum("nhiwjc,fcij->nfhw", patches, weights["patch"].astype(np.float64)), 0)
    scores = np.einsum("nfhw,kf->nkhw", features, weights["look"][:, :, 0, 0])
    attention = np.exp(scores) / np.exp(scores).sum((2, 3), keepdims=True)
    embedding = np.einsum("nkhw,nfhw->nkf", attention, features).reshape(count, -1)
    if gain == "sqrt":
        embedding = np.sqrt(embedding)
    logits = embedding @ weights["head.weight"].T + weights["head.bias"]
    return {"logits": logits, "attention": attention, "embedding": embedding, "features": features}


def tiny_facts(**changes: Any) -> dict[str, Any]:
    return {
        "task": "classify",
        "classes": list(CLASSES),
        "preprocess": {"size_wh": [SIZE, SIZE], "fit": "squash", "resample": "bilinear"},
        "outputs": {
            "logits": [len(CLASSES)],
            "attention": [MAPS, CELLS, CELLS],
            "embedding": [MAPS * FEATURES],
            "features": [FEATURES, CELLS, CELLS],
        },
        "precision": "f32",
        "calibration": {"temperature": 1.0},
        "thresholds": {"unsure_below": 0.5},
        **changes,
    }


def tiny_bundle(
    folder: Path, weights: dict[str, np.ndarray] | None = None, gain: str = "identity", **changes: Any
) -> Bundle:
    """A complete bundle of a tiny network in `folder`, verified."""
    facts = tiny_facts(**changes)
    weights = weights or network_weights(n_classes=len(facts["classes"]))
    folder.mkdir(parents=True, exist_ok=True)
    head = {name: value for name, value in weights.items() if name.startswith("head.")}
    files = {
        bundles.MODEL: tiny_onnx(weights, gain),
        bundles.WEIGHTS: save_safetensors(head),
        bundles.CARD: b"# A tiny recogniser\n",
    }
    bundles.save(folder, facts, files)
    return bundles.load(folder)


def with_map(bundle: Bundle, folder: Path, data: bytes) -> Recogniser:
    """The bundle with these bytes as its map."""
    files = {name: bundle.read(name) for name in bundle.facts["files"]} | {bundles.OCCLUSION: data}
    facts = {k: v for k, v in bundle.facts.items() if k not in ("files", "checksum", "format")}
    folder.mkdir()
    bundles.save(folder, facts, files)
    return Recogniser(load_bundle(folder))
