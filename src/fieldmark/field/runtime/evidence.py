"""Class evidence: how much each position adds to a logit, exact for a linear head.

L classes, K attention maps, F features, D = K * F, h x w positions.

The head pools `pooled_k = sum_position attention_k * features`, maps it to the embedding value by value (identity, or
a power), and is linear from there. With `gain = embedding / pooled`, the logit of class c without its bias is
`sum_position sum_k attention_k * ((W_ck * gain_k) . features)`: its terms are the evidence (for gain 1 this is the
class activation map of Zhou et al. 2016).
"""

import numpy as np
from numpy.typing import NDArray

OUTPUTS = ("logits", "attention", "embedding", "features")
Array = NDArray[np.float32]


def class_evidence(attention: Array, embedding: Array, features: Array, weights: Array) -> Array:
    """Evidence [h, w]; its sum is `weights . embedding`.

    attention [K, h, w], embedding [D], features [F, h, w], weights [D] (a row of the head, or a combination of rows).
    """
    pooled = np.einsum("khw,fhw->kf", attention, features)
    gain = np.divide(embedding.reshape(pooled.shape), pooled, out=np.zeros_like(pooled), where=np.abs(pooled) > 1e-12)
    scaled = weights.reshape(pooled.shape) * gain  # [K, F]
    return np.asarray(np.einsum("khw,kf,fhw->hw", attention, scaled, features, optimize=True), np.float32)
