"""Small pictures: decoded once, views of a batch as those of single pictures, a batch a function of its number."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fieldmark import bundle as bundles
from fieldmark import pictures
from fieldmark.types import Preprocess, Sample
from fieldmark.workshop.models import classic
from fieldmark.workshop.recipe import AugmentRecipe, load_recipe
from fieldmark.workshop.train import loop, small
from fieldmark.workshop.train.cache import digests
from fieldmark.workshop.train.journal import Journal
from fieldmark.workshop.train.probe import Usable
from tests.making import smooth, write_picture
from tests.training import bundle_bytes, coloured, events, train

PREPROCESS = Preprocess((16, 16))
PLAIN = AugmentRecipe(crop=1.0, flip=False)


def usable_of(folder, count=6, size_wh=(16, 16)):
    paths = [write_picture(folder / f"{i}.png", i, size_wh) for i in range(count)]
    samples = [Sample(path, path.name, ("x",), split="val" if i % 3 == 2 else "train") for i, path in enumerate(paths)]
    return Usable(samples, digests(paths), [])


def keep(usable, folder, preprocess=PREPROCESS, recipe=PLAIN):
    return small.keep(usable, preprocess, recipe, Journal(folder / "log.jsonl"))


def source_of(folder, recipe=PLAIN, **options):
    usable = usable_of(folder, **options)
    kept = keep(usable, folder, recipe=recipe)
    return usable, small.SmallPictures(kept, usable.keys, PREPROCESS, recipe, 0, torch.device("cpu"))


def test_the_largest_side_is_found_whatever_cannot_be_read(tmp_path):
    usable = usable_of(tmp_path, 3, (20, 12))
    write_picture(tmp_path / "1.png", 1, (12, 40))
    assert small.side_of(usable.samples) == 40
    (tmp_path / "1.png").write_bytes(b"broken")
    assert small.side_of(usable.samples) == 20
    assert small.side_of([Sample(tmp_path / "none.png", "none.png")]) == 0


@pytest.mark.parametrize(("n", "batch"), [(1, 32), (1437, 32), (4_000, 64), (10_000, 128), (60_000, 128), (10**6, 128)])
def test_the_batch_follows_the_number_of_pictures(n, batch):
    assert small.batch_of(n) == batch


def test_what_the_recipe_leaves_open_is_settled_by_size_and_what_it_says_stays():
    scratch = load_recipe("scratch")
    found = small.settle(scratch, 28, 60_000)
    assert (found.tune.batch, found.augment.crop, found.augment.mixup) == (128, 0.7, 0.0)
    assert found.optim.rate == pytest.approx(3 * 1e-3 * 4**0.5)
    large = small.settle(scratch, 96, 60_000)
    assert (large.tune.batch, large.augment.crop, large.augment.mixup, large.optim.rate) == (64, 0.35, 1.0, 0.0)
    said = load_recipe("scratch", ["tune.batch=50", "augment.crop=0.5", "augment.mixup=0.25", "optim.rate=0.001"])
    assert small.settle(said, 28, 60_000) == said
    standard = load_recipe("standard", ["augment.crop=0.35"])
    assert small.settle(load_recipe("standard"), 288, 100) == standard


def test_plain_pictures_are_those_of_prediction(tmp_path):
    usable, source = source_of(tmp_path)
    rows, used, numbers, preprocess = source.plain(np.array([5, 2]))
    assert (numbers.tolist(), preprocess) == ([0, 0], PREPROCESS)
    np.testing.assert_array_equal(used, [5, 2])
    assert rows.dtype == torch.uint8
    for row, place in zip(rows, used, strict=True):
        np.testing.assert_array_equal(row, pictures.load(usable.samples[place].path, PREPROCESS))
    rows = source.batch(0, np.array([4, 0]), 0.0).rows  # nothing asked for: as they are
    np.testing.assert_array_equal(rows[0], pictures.load(usable.samples[4].path, PREPROCESS))


def test_a_batch_is_a_function_of_its_number(tmp_path):
    _, source = source_of(tmp_path, AugmentRecipe(crop=0.5))
    places = np.array([0, 1, 3, 4])
    first = source.batch(3, places, 0.2)[0]
    assert first.shape == (4, 16, 16, 3)
    assert not torch.equal(source.batch(4, places, 0.2)[0], first)
    assert torch.equal(source.batch(3, places, 0.9)[0], first)


@given(st.integers(0, 10**6), st.floats(0.1, 1), st.integers(16, 30))
def test_a_view_is_what_pillow_makes_of_the_same_box(seed, crop, side):
    """Enlarged, so that both take the four nearest pixels; Pillow rounds twice."""
    picture, rng = smooth(16, 16, seed % 7), np.random.default_rng(seed)
    (window,) = small._windows(1, AugmentRecipe(crop=crop, flip=False), rng)
    view = small._views(torch.from_numpy(picture)[None], window[None], side)[0].numpy()
    size, centre = 16 * np.diag(window[:, :2]), 8 * (1 + window[:, 2])
    box = tuple(float(v) for v in np.clip((*(centre - size / 2), *(centre + size / 2)), 0, 16))
    expected = pictures.resize(Image.fromarray(picture), Preprocess((side, side)), box)
    assert np.abs(view - expected).max() <= 2


@given(st.integers(0, 10**6), st.floats(0.05, 1))
def test_windows_lie_within_the_picture_and_keep_the_asked_share(seed, crop):
    maps = small._windows(200, AugmentRecipe(crop=crop, flip_vertical=True), np.random.default_rng(seed))
    size, offset = np.abs(maps[:, [0, 1], [0, 1]]), np.abs(maps[:, :, 2])
    assert (size + offset <= 1 + 1e-6).all()
    assert (size.prod(1) <= 1 + 1e-6).all()
    inside = (size < 1).all(1)  # not cut off at the border
    assert (size.prod(1)[inside] >= crop - 1e-6).all()
    for axis in (0, 1):
        assert 0.3 < (maps[:, axis, axis] < 0).mean() < 0.7


def test_a_negative_scale_mirrors():
    picture = torch.from_numpy(smooth(16, 16))[None]
    whole = np.array([[[1, 0, 0], [0, 1, 0]]], np.float32)
    for axis, dim in ((0, 2), (1, 1)):
        mirrored = whole.copy()
        mirrored[0, axis, axis] = -1
        torch.testing.assert_close(small._views(picture, mirrored, 16), picture.float().flip(dim), atol=1e-3, rtol=0)


def test_statistics_are_those_of_the_training_pictures(tmp_path):
    usable = usable_of(tmp_path)
    (tmp_path / "1.png").write_bytes(b"broken")
    kept = keep(usable, tmp_path)
    stack = np.stack([pictures.load(tmp_path / f"{i}.png", PREPROCESS) for i in (0, 3, 4)]).astype(np.float64)
    mean, std = kept.statistics()
    assert mean == pytest.approx(stack.mean((0, 1, 2)))
    assert std == pytest.approx(stack.reshape(-1, 3).std(0))


def test_broken_and_changed_pictures_are_named_and_pictures_of_no_variance_divided_by_one(tmp_path):
    usable = usable_of(tmp_path)
    write_picture(tmp_path / "0.png", 99, (16, 16))
    (tmp_path / "2.png").write_bytes(b"broken")
    kept = keep(usable, tmp_path)
    assert set(kept.errors) == {usable.keys[0], usable.keys[2]}
    assert "has changed" in kept.errors[usable.keys[0]]
    assert set(kept.train_rows) == {usable.keys[i] for i in (1, 3, 4)}
    black = replace(kept, train=np.zeros_like(kept.train))
    assert black.statistics()[1] == pytest.approx([1, 1, 1])


def test_larger_pictures_are_kept_finer_than_the_input_but_not_as_they_are(tmp_path):
    for size, side in (((12, 9), 16), ((24, 20), 24), ((90, 70), 32)):
        (tmp_path / str(size)).mkdir()
        kept = keep(usable_of(tmp_path / str(size), 3, size), tmp_path)
        assert kept.train.shape == (2, side, side, 3)
        assert kept.plain.shape == (1, 16, 16, 3)


@pytest.mark.parametrize("setting", ["rotate", "colour", "blur", "noise", "erase"])
def test_what_no_batch_is_augmented_with_is_made_picture_by_picture(tmp_path, setting):
    usable = usable_of(tmp_path, 3)
    assert keep(usable, tmp_path, recipe=replace(PLAIN, **{setting: 0.5})) is None
    assert keep(usable, tmp_path, recipe=replace(PLAIN, policy="trivial")) is None


def test_what_is_too_large_is_not_kept(tmp_path, monkeypatch):
    usable = usable_of(tmp_path, 3)
    assert keep(usable, tmp_path, Preprocess((128, 128))) is None
    monkeypatch.setattr(small, "MOST_BYTES", 3 * 3 * 16 * 16 - 1)
    assert keep(usable, tmp_path) is None


# -- whole trainings

LEARN = ("tune.epochs=3", "tune.batch=8", "bundle.calibration=8")


def learn(data, out, *more, **options):
    return train(data, out, backbone="lenet5", recipe="scratch", settings=(*LEARN, *more), **options)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return coloured(tmp_path_factory.mktemp("small"), 12)


@pytest.fixture(scope="module")
def learned(data, tmp_path_factory):
    return learn(data, tmp_path_factory.mktemp("learned") / "run")


def test_a_small_network_learns_and_normalises_by_its_pictures(learned):
    facts = bundles.load(learned.bundle).facts
    assert learned.scores["test"]["accuracy"] > 0.9
    assert facts["preprocess"]["size_wh"] == [28, 28]
    assert (facts["recipe"]["augment"]["crop"], facts["recipe"]["augment"]["mixup"]) == (0.7, 0.0)
    assert "reading the pictures" in {e["name"] for e in events(learned.run) if e["event"] == "step"}


def test_weights_of_a_bundle_come_with_the_statistics_that_they_learned_with(learned):
    from safetensors.torch import load_file

    from fieldmark.workshop.models import create_backbone

    file = learned.bundle / "model.safetensors"
    backbone = create_backbone("lenet5", str(file))
    state = load_file(file)
    assert [255 * v for v in backbone.mean] == pytest.approx(state["mean"].flatten().tolist(), abs=1e-3)
    assert [255 * v for v in backbone.std] == pytest.approx(state["std"].flatten().tolist(), abs=1e-3)
    assert backbone.mean != (0.5, 0.5, 0.5)


def test_a_stopped_run_goes_on_to_the_same_bytes(data, learned, tmp_path, monkeypatch):
    def stop(self, event, stage, step, **values):
        if event == "train" and step == 5:
            raise KeyboardInterrupt
        Journal.measure_(self, event, stage, step, **values)

    monkeypatch.setattr(Journal, "measure_", Journal.measure, raising=False)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "CHECKPOINT_EVERY_S", 0.0)
        patch.setattr(Journal, "measure", stop)
        with pytest.raises(KeyboardInterrupt):
            learn(data, tmp_path / "run")
    assert list((tmp_path / "run").glob("checkpoint-*"))
    again = train(data, tmp_path / "run", resume=True)
    assert bundle_bytes(again.bundle) == bundle_bytes(learned.bundle)


@pytest.mark.parametrize(
    "name", [*sorted({*classic.NETWORKS} - {"alexnet_lrn"}), "vgg11", "inception_v3", "densenet121"]
)
def test_every_network_trains_from_scratch(data, tmp_path, name):
    settings = ("tune.epochs=0.2", "tune.batch=4", "bundle.calibration=4")
    found = train(data, tmp_path / "run", backbone=name, recipe="scratch", settings=settings)
    facts = bundles.load(found.bundle).facts
    assert facts["backbone"]["name"] == name
    assert facts["learning"][0]["steps"] > 0
    assert facts["parity"]["f32_difference"] < 1e-3
    assert found.scores["test"]["n"] > 0


def test_the_small_input_form_is_taken_for_small_pictures_and_said(data, tmp_path):
    settings = ("tune.epochs=0.2", "tune.batch=4", "bundle.calibration=4")
    found = train(data, tmp_path / "run", backbone="resnet18", recipe="scratch", settings=settings)
    facts = bundles.load(found.bundle).facts
    assert facts["preprocess"]["size_wh"] == [48, 48]  # as the pictures are
    assert facts["backbone"]["form"] == "a 3 x 3 stem of stride 1, without pooling after it"
    said = [e["sentence"] for e in events(found.run) if e["event"] == "note"]
    assert f"form of resnet18 for 48 px: {facts['backbone']['form']}" in said
