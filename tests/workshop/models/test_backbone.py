"""Backbones: features on a grid, whatever the network's own layout."""

import pytest
import torch

from fieldmark.errors import UsageError
from fieldmark.workshop.models import create_backbone
from fieldmark.workshop.models.backbone import input_size
from tests.training import small_swin

NETS = ["test_resnet", "test_efficientnet", "test_convnext", "test_vit", "test_vit4", "test_mambaout", "test_coatnet"]


@pytest.mark.parametrize("name", NETS)
def test_any_layout_becomes_features_on_a_grid(name):
    backbone = create_backbone(name, "none")
    with torch.inference_mode():
        found = backbone(torch.rand(3, 3, backbone.size, backbone.size))
    assert found.shape == (3, backbone.n_features, *backbone.grid_hw)
    assert found.isfinite().all()
    assert backbone.source == "random"


def test_swin_gives_channels_last_and_comes_out_channels_first():
    backbone = small_swin(64)
    assert backbone.layout == "NHWC"
    assert (backbone.n_features, backbone.grid_hw) == (64, (8, 8))


@pytest.mark.parametrize("name", ["test_vit", "test_vit2", "test_vit4"])
def test_tokens_keep_their_places(name):
    backbone = create_backbone(name, "none").eval()
    x = torch.rand(1, 3, backbone.size, backbone.size)
    with torch.inference_mode():
        raw, grid = backbone.body.forward_features(x), backbone(x)
    assert backbone.layout == "tokens"
    width = backbone.grid_hw[1]
    for row, column in ((0, 0), (0, width - 1), (2, 1)):
        token = raw[0, backbone.skip_tokens + row * width + column]
        torch.testing.assert_close(grid[0, :, row, column], token)


def test_the_position_of_the_input_is_the_position_of_the_feature():
    backbone = create_backbone("test_convnext", "none", 160).eval()
    plain = torch.zeros(1, 3, 160, 160)
    marked = plain.clone()
    marked[:, :, :32, 128:] = 5.0  # above, right
    with torch.inference_mode():
        change = (backbone(marked) - backbone(plain)).abs().sum(1)[0]
    place = int(change.argmax())
    assert place // change.shape[1] < change.shape[0] / 2 <= place % change.shape[1]


def test_the_size_asked_for_is_used_and_zero_means_the_networks_own():
    assert create_backbone("test_resnet", "none", 64).size == 64
    assert create_backbone("test_resnet", "none").size == input_size(160, fixed=False) == 192
    assert create_backbone("test_vit", "none").size == 160
    assert create_backbone("test_vit", "none", 96).grid_hw == (6, 6)


@pytest.mark.parametrize(("native", "fixed", "size"), [(224, False, 288), (224, True, 224), (256, False, 320)])
def test_the_default_input_is_larger_by_nine_sevenths(native, fixed, size):
    assert input_size(native, fixed) == size


def test_a_size_that_the_network_cannot_take_is_refused_in_one_sentence():
    with pytest.raises(UsageError, match="px pictures") as caught:
        create_backbone("test_coatnet", "none", 50)
    assert "\n" not in str(caught.value)


def test_random_weights_follow_the_seed_of_torch():
    states = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        states.append(create_backbone("test_resnet", "none", 64).body.state_dict()["layer1.0.conv1.weight"])
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])
