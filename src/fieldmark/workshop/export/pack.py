"""What goes into a bundle beside the network: pictures for later checks, weights, facts."""

import io
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from fieldmark import __version__, pictures
from fieldmark.errors import PictureError
from fieldmark.types import Picture, Preprocess, Sample
from fieldmark.workshop.learn.base import Learner

JPEG_QUALITY = 95
PACKAGES = ("numpy", "Pillow", "openvino", "torch", "timm", "onnx")


@dataclass(frozen=True)
class Calibration:
    """Pictures of training and labelled ones of validation, at the network's size: uint8 [n, H, W, 3]."""

    train: NDArray[np.uint8]
    val: NDArray[np.uint8]
    val_targets: NDArray[Any]

    @classmethod
    def choose(
        cls, samples: Sequence[Sample], learner: Learner, preprocess: Preprocess, most: int, seed: int
    ) -> "Calibration":
        """Up to `most` readable pictures of each part, drawn by `seed`; the truth is as the learner stores it (class
        numbers, for classes)."""
        chosen: dict[str, list[tuple[Picture, Sample]]] = {"train": [], "val": []}
        for part, found in chosen.items():
            there = [s for s in samples if s.split == part]
            order = np.random.default_rng([seed, len(there)]).permutation(len(there))[:most]
            for i in sorted(order):
                try:
                    found.append((pictures.load(there[i].path, preprocess), there[i]))
                except PictureError:
                    continue  # reported where it is used for training
        width, height = preprocess.size_wh
        stacks = {k: np.array([p for p, _ in v], np.uint8).reshape(-1, height, width, 3) for k, v in chosen.items()}
        return cls(stacks["train"], stacks["val"], learner.stored([s for _, s in chosen["val"]], preprocess))

    def first(self, most: int) -> "Calibration":
        """At most `most` of each part."""
        return Calibration(self.train[:most], self.val[:most], self.val_targets[:most])

    @property
    def pictures(self) -> NDArray[np.uint8]:
        """All of them, validation first."""
        return np.concatenate([self.val, self.train])

    def to_npz(self) -> bytes:
        """As the bundle's `calibration.npz`: pictures as JPEG (quality 95, full colour), one after the other, with
        their offsets, since raw ones would be ten times the network's own size."""
        arrays: dict[str, NDArray[Any]] = {"val_targets": self.val_targets}
        for part in ("train", "val"):
            encoded = [_jpeg(p) for p in getattr(self, part)]
            arrays[f"{part}_jpeg"] = np.frombuffer(b"".join(encoded), np.uint8)
            arrays[f"{part}_offsets"] = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
        out = io.BytesIO()
        np.savez(out, allow_pickle=False, **arrays)
        return out.getvalue()


def _jpeg(picture: Picture) -> bytes:
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return out.getvalue()


def weights_bytes(network: nn.Module) -> bytes:
    """The network's state as safetensors."""
    from safetensors.torch import save

    return bytes(save({k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}))


def versions() -> dict[str, str]:
    """Versions of what the result depends on."""
    found = {"fieldmark": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
