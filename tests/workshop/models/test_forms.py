"""Published networks under their names: the published counts, forms for small pictures, steps and exports."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

import tests.training  # noqa: F401 - one thread for torch
from fieldmark.errors import WeightsError
from fieldmark.field.runtime import compile_engine
from fieldmark.workshop.export import export_onnx
from fieldmark.workshop.models import Network, create_backbone
from fieldmark.workshop.models.forms import DenseVgg

PUBLISHED = {  # at 1,000 classes, as torchvision and the papers have them
    "alexnet": 61_100_840,
    "vgg11": 132_863_336,
    "vgg13": 133_047_848,
    "vgg16": 138_357_544,
    "vgg19": 143_667_240,
    "vgg11_bn": 132_868_840,
    "vgg13_bn": 133_053_736,
    "vgg16_bn": 138_365_992,
    "vgg19_bn": 143_678_248,
    "inception_v3": 23_834_568,  # 27,161,264 with the auxiliary classifier
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "densenet121": 7_978_856,
    "densenet161": 28_681_000,
    "densenet169": 14_149_480,
    "densenet201": 20_013_928,
}
FAMILIES = ("vgg11", "inception_v3", "resnet18", "densenet121", "alexnet")


def network(name: str, classes: int = 1000, size: int = 0, pictures: int = 0) -> Network:
    torch.manual_seed(0)
    return Network(create_backbone(name, "none", size, pictures), classes).eval()


def count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("name", PUBLISHED)
def test_at_1000_classes_the_count_is_the_published_one_and_small_pictures_are_taken(name):
    with torch.device("meta"):
        assert count(network(name)) == PUBLISHED[name]
        assert network(name).backbone.form == ""
        for size in (28, 64):
            made = network(name, 7, size).backbone
            assert made.form
            assert min(made.grid_hw) >= 1


def test_torchvision_has_the_same_counts():
    from torchvision.models import get_model_weights

    for name, expected in PUBLISHED.items():
        extra = 3_326_696 if name == "inception_v3" else 0  # 768 x 128 + 2 x 128 + 128 x 768 x 25 + 2 x 768 + 769,000
        assert next(iter(get_model_weights(name))).meta["num_params"] == expected + extra


@pytest.mark.parametrize("name", FAMILIES)
def test_the_small_form_takes_a_step_and_is_exported(name):
    made = network(name, 4, 32)
    batch = torch.randint(0, 256, (4, 32, 32, 3), dtype=torch.uint8)
    made.train()
    F.cross_entropy(made(batch)[0], torch.arange(4)).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in made.parameters())
    made.eval()
    with torch.no_grad():
        expected = made(batch)[0].numpy()
    found = compile_engine(export_onnx(made, (32, 32)), "f32").run(batch.numpy(), ("logits",))["logits"]
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-3)


def test_the_small_stem_keeps_the_resolution():
    """Position for position: a step of one pixel is a step of one position before the blocks."""
    body = create_backbone("resnet18", "none", 32).body
    x = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        stem = body.maxpool(body.act1(body.bn1(body.conv1(x))))
        by_hand = F.relu(body.bn1(F.conv2d(x, body.conv1.weight, padding=1)))
    assert stem.shape == (1, 64, 32, 32)
    torch.testing.assert_close(stem, by_hand)


def test_dense_layers_of_vgg_are_those_of_torchvision():
    """On pictures of 224 px its convolutions of 7 x 7 and 1 x 1 are the dense layers of torchvision's classifier."""
    from torchvision.models import vgg11

    torch.manual_seed(0)
    body, theirs = create_backbone("vgg11", "none", 224).body.eval(), vgg11(init_weights=False).eval()
    assert isinstance(body, DenseVgg)
    own = body.state_dict()
    for ours, dense in (("pre_logits.fc1", 0), ("pre_logits.fc2", 3)):
        layer = theirs.classifier[dense]
        own[f"{ours}.weight"] = layer.weight.detach().reshape(own[f"{ours}.weight"].shape)
        own[f"{ours}.bias"] = layer.bias.detach()
    body.load_state_dict(own)
    features = torch.rand(2, 512, 7, 7)
    with torch.no_grad():
        expected = theirs.classifier[:-1](features.flatten(1))
        found = body.drop(body.pre_logits(features))[:, :, 0, 0]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    assert [part.p for part in body.modules() if isinstance(part, torch.nn.Dropout)] == [0.5, 0.5]


def test_the_default_input_follows_small_pictures_only_where_there_is_a_form_for_them():
    with torch.device("meta"):
        sides = {p: network("resnet18", pictures=p).backbone.size for p in (0, 8, 28, 50, 64, 65, 500)}
        assert sides == {0: 288, 8: 28, 28: 28, 50: 50, 64: 64, 65: 288, 500: 288}
        assert network("resnet18", size=96, pictures=28).backbone.size == 96
        assert network("test_efficientnet", pictures=28).backbone.size > 64
        assert network("alexnet", pictures=50).backbone.size == 50
    assert network("lenet5", pictures=50).backbone.size == 28


def test_pretrained_weights_never_take_another_form_silently(tmp_path):
    torch.manual_seed(0)
    published = create_backbone("resnet18", "none", 96)
    file = tmp_path / "resnet18.safetensors"
    save_file(published.body.state_dict(), file)
    for size in (32, 96):
        made = create_backbone("resnet18", str(file), size, pictures=28)
        assert (made.form, made.source) == ("", "file")
        assert torch.equal(made.body.conv1.weight, published.body.conv1.weight)
    assert create_backbone("resnet18", str(file), pictures=28).size == 288


def test_weights_of_a_small_form_bring_that_form(tmp_path):
    small = create_backbone("resnet18", "none", 32)
    file = tmp_path / "small.safetensors"
    save_file(small.body.state_dict(), file)
    made = create_backbone("resnet18", str(file), 28)
    assert made.form == small.form
    assert torch.equal(made.body.conv1.weight, small.body.conv1.weight)
    with pytest.raises(WeightsError, match=r"not of resnet18: they have shape .* set picture.size to 64 or less"):
        create_backbone("resnet18", str(file), 96)


def test_vgg_takes_the_dense_layers_that_a_file_has(tmp_path):
    vgg = create_backbone("vgg11", "none", 64).body
    alone = tmp_path / "alone.safetensors"
    save_file(vgg.state_dict(), alone)
    made = create_backbone("vgg11", str(alone), 96)
    assert made.form == "its convolutions alone, without the dense layers"
    assert made.grid_hw == (3, 3)
    assert torch.equal(made.body.features[0].weight, vgg.features[0].weight)


def test_numbers_of_a_batch_do_not_depend_on_its_other_pictures():
    made, rng = network("vgg11", 4, 28), np.random.default_rng(0)
    batch = torch.from_numpy(rng.integers(0, 256, (3, 28, 28, 3), np.uint8))
    with torch.no_grad():
        torch.testing.assert_close(made(batch)[0][:1], made(batch[:1])[0], atol=1e-4, rtol=1e-4)
