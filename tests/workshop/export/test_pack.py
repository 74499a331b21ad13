"""What a bundle holds beside the network."""

import io
import itertools

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load

from fieldmark import pictures
from fieldmark.types import Preprocess, Sample
from fieldmark.workshop.export.pack import Calibration, versions, weights_bytes
from fieldmark.workshop.learn.classify import Classify
from fieldmark.workshop.models import Network, create_backbone
from fieldmark.workshop.recipe import Recipe
from tests.training import COLOURS, draw

PREPROCESS = Preprocess((24, 16))


@pytest.fixture
def samples(tmp_path):
    made = []
    for i in range(30):
        part, label = ("train", "val", "test")[i % 3], sorted(COLOURS)[i % 2]
        made.append(Sample(draw(tmp_path / f"{i}.png", COLOURS[label], i), f"{i}.png", (label,), part))
    return made


def choose(samples, most=256, seed=0):
    return Calibration.choose(samples, Classify(sorted(COLOURS), Recipe()), PREPROCESS, most, seed)


def test_pictures_of_training_and_labelled_ones_of_validation_are_kept(samples):
    kept = choose(samples)
    assert kept.train.shape == kept.val.shape == (10, 16, 24, 3)
    val = [s for s in samples if s.split == "val"]
    np.testing.assert_array_equal(kept.val, np.stack([pictures.load(s.path, PREPROCESS) for s in val]))
    assert [sorted(COLOURS)[t] for t in kept.val_targets] == [s.label for s in val]
    np.testing.assert_array_equal(kept.pictures, np.concatenate([kept.val, kept.train]))


def test_at_most_so_many_are_drawn_by_the_seed(samples):
    assert len(choose(samples, 4).train) == len(choose(samples, 4).val_targets) == 4
    assert (choose(samples, 4).train == choose(samples, 4).train).all()
    assert (choose(samples, 4, 1).train != choose(samples, 4, 2).train).any()
    assert len(choose(samples, 0).pictures) == 0
    assert len(choose(samples).first(3).val) == 3


def test_unreadable_pictures_and_empty_parts_are_passed_by(samples):
    samples[0].path.write_bytes(b"broken")
    kept = choose([s for s in samples if s.split == "train"])
    assert kept.train.shape == (9, 16, 24, 3)
    assert kept.val.shape == (0, 16, 24, 3)
    assert len(kept.val_targets) == 0


def test_the_archive_holds_jpegs_with_offsets_and_no_pickle(samples):
    kept = choose(samples, 4)
    with np.load(io.BytesIO(kept.to_npz()), allow_pickle=False) as archive:
        for part in ("train", "val"):
            data, offsets = archive[f"{part}_jpeg"].tobytes(), archive[f"{part}_offsets"]
            assert offsets[0] == 0
            assert offsets[-1] == len(data)
            for i, (start, end) in enumerate(itertools.pairwise(offsets)):
                with Image.open(io.BytesIO(data[start:end])) as image:
                    close = np.abs(np.asarray(image).astype(int) - getattr(kept, part)[i])
                assert image.format == "JPEG"
                assert close.mean() < 6
        np.testing.assert_array_equal(archive["val_targets"], kept.val_targets)
    assert kept.to_npz() == kept.to_npz()


def test_weights_are_the_whole_state():
    network = Network(create_backbone("test_resnet", "none", 32), 3)
    state = load(weights_bytes(network))
    assert set(state) == set(network.state_dict())
    assert all(torch.equal(state[k], v) for k, v in network.state_dict().items())
    assert network.output_shapes((32, 32))["logits"] == [3]


def test_versions_name_what_the_result_depends_on():
    found = versions()
    assert {"fieldmark", "python", "numpy", "torch", "timm", "onnx"} <= set(found)
    assert all(isinstance(v, str) and v for v in found.values())
