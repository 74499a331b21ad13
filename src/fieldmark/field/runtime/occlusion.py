"""What covering a place would take from the answer, foreseen from the features.

Looking again at a picture with one place covered after the other (Zeiler and Fergus 2014) costs a look a place; a small
linear model of what such looks said in training (amortised, as in Jethani et al. 2022) costs nothing. F features, h x w
positions, K x K positions around each that it reads.
"""

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Array = NDArray[np.float32]
MOST_AROUND = 15


def windows(values: NDArray[np.floating], around: int) -> NDArray[np.floating]:
    """Of values [F, h, w] those around each position, [F, h, w, K, K], K = `around`; beyond the border they are 0."""
    reach = around // 2
    padded = np.pad(values, ((0, 0), (reach, reach), (reach, reach)))
    return sliding_window_view(padded, (around, around), axis=(1, 2))


@dataclass(frozen=True)
class OcclusionMap:
    """How much the lead of the best class over the next one, in logits, falls when a position is covered: the features
    less their `mean` [F], convolved with `kernel` [F, K, K], plus `bias` [1]."""

    mean: Array
    kernel: Array
    bias: Array

    def foresee(self, features: Array) -> Array:
        """The fall at each position, [h, w], of features [F, h, w]; beyond the border they count as their mean."""
        centred = windows(features - self.mean[:, None, None], self.kernel.shape[1])
        return np.asarray(np.einsum("fhwab,fab->hw", centred, self.kernel, optimize=True) + self.bias[0], np.float32)

    def to_bytes(self) -> bytes:
        """As safetensors."""
        from safetensors.numpy import save

        return save({name: np.ascontiguousarray(v, np.float32) for name, v in vars(self).items()})

    @classmethod
    def from_bytes(cls, data: bytes, n_features: int) -> "OcclusionMap":
        """The map of `to_bytes`; ValueError where it is not one for so many features."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            held = load(data)
            found = cls(*(np.asarray(held[name], np.float32) for name in ("mean", "kernel", "bias")))
        except (SafetensorError, KeyError, TypeError) as error:
            raise ValueError(f"it holds no map ({error})") from error
        around = found.kernel.shape[-1]
        shapes = (found.mean.shape, found.kernel.shape, found.bias.shape)
        if shapes != ((n_features,), (n_features, around, around), (1,)) or around % 2 == 0 or around > MOST_AROUND:
            raise ValueError("its shapes do not fit the network's features")
        if not all(np.isfinite(v).all() for v in vars(found).values()):
            raise ValueError("it holds values that are no numbers")
        return found
