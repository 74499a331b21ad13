"""Segmentation networks: every decoder on embedded and random backbones, cut in two, exported."""

import numpy as np
import pytest
import torch

from fieldmark.errors import UsageError
from fieldmark.field.runtime import compile_engine
from fieldmark.workshop.export import export_onnx
from fieldmark.workshop.models import create_backbone
from fieldmark.workshop.models.cut import split, trace
from fieldmark.workshop.models.segmenter import SEGMENTERS, SegmentNetwork

pytest.importorskip("segmentation_models_pytorch")
SIDE = 96


def network(decoder: str, backbone: str = "tf_efficientnet_lite0", classes: int = 3) -> SegmentNetwork:
    torch.manual_seed(0)
    return SegmentNetwork(create_backbone(backbone, "none", SIDE), classes, decoder).eval().requires_grad_(False)


def pictures(n: int = 2) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (n, SIDE, SIDE, 3), np.uint8))


@pytest.mark.parametrize("decoder", SEGMENTERS)
def test_logits_are_a_quarter_of_the_input_and_the_same_through_every_cut_and_the_engine(decoder):
    made = network(decoder)
    (expected,) = made(pictures())
    assert expected.shape == (2, 3, SIDE // 4, SIDE // 4)
    assert expected.std() > 0
    cuttable = trace(made)
    assert cuttable.names[-1] == "blocks.1.1"  # later, two sizes of features pass
    for name in (cuttable.names[0], cuttable.names[-1]):
        prefix, tail = split(made, cuttable, name)
        torch.testing.assert_close(tail(prefix(pictures()))[0], expected, rtol=1e-4, atol=1e-4)
    engine = compile_engine(export_onnx(made, (SIDE, SIDE)), "f32")
    np.testing.assert_allclose(engine.run(pictures().numpy(), ("logits",))["logits"], expected, atol=2e-4)


@pytest.mark.parametrize("backbone", ["resnet18", "mobilenetv3_small_100", "convnext_atto"])
def test_other_backbones_have_levels_too(backbone):
    made = network("unet", backbone)
    assert made(pictures())[0].shape == (2, 3, SIDE // 4, SIDE // 4)
    assert trace(made).names


def test_what_the_whole_picture_says_is_added_to_every_position():
    made = network("unet")
    with torch.no_grad():
        made.scene.weight.zero_()
        made.scene.bias.zero_()
        alone = made(pictures())[0]
        made.scene.weight.normal_()
        coarsest = made.trunk()(made.normalise(pictures()))[-1].flatten(2)
        expected = torch.cat([coarsest.mean(2), coarsest.max(2).values], 1) @ made.scene.weight.T
        added = made(pictures())[0] - alone
    torch.testing.assert_close(added, expected[:, :, None, None].expand_as(added), atol=1e-3, rtol=1e-3)


def test_no_weight_is_kept_twice():
    made = network("unet")
    kept = list(made.state_dict(keep_vars=True).values())
    assert len({id(value) for value in kept}) == len(kept)


def test_what_cannot_be_done_is_said():
    with pytest.raises(UsageError, match="unet"):
        network("unett")
    with pytest.raises(UsageError, match="no features at strides"):
        network("unet", "vit_tiny_patch16_224")
    with pytest.raises(UsageError, match="multiple of 32"):
        SegmentNetwork(create_backbone("resnet18", "none", 72), 2, "unet")
