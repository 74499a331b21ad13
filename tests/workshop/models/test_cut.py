"""Cut networks are the network, in two."""

import pytest
import torch

from fieldmark.workshop.models import Network, create_backbone
from fieldmark.workshop.models.cut import PICTURES, Whole, split, trace

FAMILIES = {
    "tf_efficientnet_lite0": 64,
    "resnet18": 64,
    "convnext_atto": 64,
    "vit_tiny_patch16_224": 224,
    "densenet121": 64,
    "inception_v3": 96,
    "lenet5": 28,
}


def network(name: str) -> Network:
    torch.manual_seed(0)
    return Network(create_backbone(name, "none", FAMILIES[name]), 5).eval()


def pictures(size: int) -> torch.Tensor:
    return torch.randint(0, 256, (2, size, size, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", FAMILIES)
def test_prefix_and_tail_together_are_the_network_wherever_it_is_cut(name):
    whole, x = network(name), pictures(FAMILIES[name])
    cuttable = trace(whole)
    assert len(cuttable.names) >= 5
    with torch.inference_mode():
        expected = whole(x)
        for cut in (*cuttable.names[:: max(1, len(cuttable.names) // 4)], cuttable.names[-1], PICTURES):
            prefix, tail = split(whole, cuttable, cut)
            for a, b in zip(tail(prefix(x) if cut != PICTURES else x), expected, strict=True):
                torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    prefix, tail = split(whole, cuttable, cuttable.names[-2])
    with torch.inference_mode():
        *outputs, rows = Whole(prefix, tail)(x)
    assert len(outputs) == 4
    torch.testing.assert_close(rows, prefix(x))


def test_a_block_that_gives_several_tensors_is_no_place_to_cut():
    whole = Network(create_backbone("rownet", "none"), 5)  # an LSTM gives its outputs and its state
    assert trace(whole).names == ()


def test_what_the_tail_learns_is_in_the_network():
    whole = network("resnet18")
    cuttable = trace(whole)
    _, tail = split(whole, cuttable, "layer3.1")
    layers = tail.learning()
    names = [name for layer in layers for name, _ in layer]
    own = {id(p) for p in whole.parameters()}
    assert all(id(p) in own for layer in layers for _, p in layer)
    assert len(names) == len(list(whole.backbone.body.layer4.parameters()))
    before = whole(pictures(64))[0].detach()
    with torch.no_grad():
        layers[-1][-1][1].add_(0.05)
    assert (whole(pictures(64))[0] - before).abs().max() > 0


def test_each_parameter_of_the_whole_backbone_learns_once():
    for name in ("resnet18", "vit_tiny_patch16_224"):
        whole = network(name)
        _, tail = split(whole, trace(whole), PICTURES)
        found = [id(p) for layer in tail.learning() for _, p in layer]
        assert sorted(found) == sorted({id(p) for p in whole.backbone.body.parameters()})


def test_a_backbone_that_cannot_be_traced_has_no_places_to_cut():
    whole = network("resnet18")
    forward = whole.backbone.body.forward_features
    whole.backbone.body.forward_features = lambda x: forward(x) if float(x.sum()) > 0 else forward(-x)
    assert trace(whole).names == ()
