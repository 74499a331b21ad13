"""The whole network against its formulas."""

import numpy as np
import pytest
import torch

from fieldmark.workshop.models import Network, create_backbone
from fieldmark.workshop.models.network import OUTPUTS, Power
from fieldmark.workshop.train.device import TorchEngine


@pytest.fixture(scope="module")
def network() -> Network:
    torch.manual_seed(0)
    return Network(create_backbone("test_resnet", "none", 64), 5).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def seen(network):
    pictures = torch.randint(0, 256, (3, 64, 64, 3), dtype=torch.uint8)
    return pictures, dict(zip(OUTPUTS, network(pictures), strict=True))


def test_outputs_have_the_shapes_that_the_bundle_states(network, seen):
    _, outputs = seen
    assert {k: list(v.shape[1:]) for k, v in outputs.items()} == network.output_shapes((64, 64))


def test_attention_is_uniform_and_sums_to_one(seen):
    attention = seen[1]["attention"]
    torch.testing.assert_close(attention.sum((2, 3)), torch.ones(3, 1))
    assert attention.min() == attention.max()


def test_embedding_and_logits_follow_their_formulas(network, seen):
    _, outputs = seen
    pooled = outputs["features"].mean((2, 3))
    torch.testing.assert_close(outputs["embedding"], pooled, atol=1e-5, rtol=1e-4)
    expected = outputs["embedding"] @ network.head.weight.T + network.head.bias
    torch.testing.assert_close(outputs["logits"], expected)


def test_normalisation_is_inside_the_network(network, seen):
    pictures, outputs = seen
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (network.backbone.mean, network.backbone.std))
    features = network.backbone((pictures.permute(0, 3, 1, 2) / 255 - mean) / std)
    torch.testing.assert_close(outputs["features"], features, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("exponent", [1.0, 0.5])
def test_power_keeps_the_sign(exponent):
    x = np.array([-4.0, 0.0, 9.0])
    found = Power(exponent)(torch.from_numpy(x))
    np.testing.assert_allclose(found, np.sign(x) * np.abs(x) ** exponent, atol=1e-5)


def test_the_torch_engine_gives_what_the_network_gives(network, seen):
    pictures, outputs = seen
    found = TorchEngine(network, OUTPUTS, torch.device("cpu")).run(pictures.numpy(), ("embedding", "logits"))
    assert set(found) == {"embedding", "logits"}
    np.testing.assert_allclose(found["logits"], outputs["logits"], atol=1e-4)
    assert found["embedding"].dtype == np.float32
