"""Recipes: what is settable, how values are read, what is refused."""

import json

import pytest

from fieldmark.errors import UsageError
from fieldmark.workshop.recipe import PRESETS, Recipe, check, from_json, keys, load_recipe, with_value
from fieldmark.workshop.recipe.tasks import for_task


def test_the_default_recipe_is_standard_and_passes_its_own_check():
    assert load_recipe() == load_recipe("standard") == PRESETS["standard"]()
    assert check(load_recipe("quick")) == Recipe()


def test_every_key_can_be_set_to_its_own_value():
    recipe = Recipe()
    for key in keys(recipe):
        owner = recipe
        for part in key.split("."):
            owner = getattr(owner, part)
        text = ",".join(map(str, owner)) if isinstance(owner, tuple) else str(owner)
        assert with_value(recipe, key, text) == recipe, key


@pytest.mark.parametrize(
    ("setting", "place", "value"),
    [
        ("picture.size=64", ("picture", "size"), 64),
        (" picture.fit = crop ", ("picture", "fit"), "crop"),
        ("data.test=none", ("data", "test"), 0.0),
        ("augment.flip=off", ("augment", "flip"), False),
        ("augment.flip=TRUE", ("augment", "flip"), True),
        ("probe.power=0.5, 1", ("probe", "power"), (0.5, 1.0)),
        ("model.weights=a=b.safetensors", ("model", "weights"), "a=b.safetensors"),
    ],
)
def test_settings_are_read_by_the_type_of_their_field(setting, place, value):
    room, name = place
    assert getattr(getattr(load_recipe(None, [setting]), room), name) == value


def test_later_settings_win():
    assert load_recipe(None, ["picture.size=64", "picture.size=96"]).picture.size == 96


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("picture.siez=64", "picture.size"),
        ("size", "key=value"),
        ("picture.size=big", "a whole number"),
        ("picture.size=1.5", "a whole number"),
        ("augment.flip=maybe", "true or false"),
        ("augment.crop=much", "a number"),
        ("augment.crop=nan", "a number"),
        ("augment.crop=inf", "a number"),
        ("probe.shrinkage=a,b", "separated by commas"),
        ("picture.fit=sqush", "squash"),
        ("model=x", "did you mean model."),
    ],
)
def test_an_unknown_key_or_value_is_refused_and_says_what_is_right(setting, says):
    with pytest.raises(UsageError, match=says):
        load_recipe(None, [setting])


@pytest.mark.parametrize(
    "setting",
    [
        "data.val=1",
        "data.test=-0.1",
        "data.val=0.6",
        "picture.size=8",
        "picture.size=-1",
        "picture.size=5000",
        "probe.folds=1",
        "probe.shrinkage=0",
        "probe.shrinkage=1.5",
        "probe.power=0",
        "augment.crop=0.001",
        "tune.batch=1",
        "decide.unsure_below=2",
        "seed=-1",
        f"seed={2**63}",
        "bundle.precision=fp8",
        "model.maps=2",
        "model.hidden=64",
        "model.join=false",
        "regularise.apart=0.1",
    ],
)
def test_values_out_of_range_are_refused(setting):
    settings = [setting, "data.test=0.6"] if setting == "data.val=0.6" else [setting]
    with pytest.raises(UsageError):
        check(load_recipe(None, settings))


def test_settings_of_attention_are_for_heads_that_attend():
    attending = ["model.head=gated", "model.maps=2", "model.hidden=64", "model.join=false", "regularise.apart=0.1"]
    assert check(load_recipe(None, attending)).model.hidden == 64
    with pytest.raises(UsageError, match=r"model\.maps is for heads that attend .* not for model\.head=gem; leave"):
        check(load_recipe(None, ["model.head=gem", "model.maps=2"]))
    with pytest.raises(UsageError, match=r"give a head that attends, and model\.maps=2 or more"):
        check(load_recipe(None, ["model.head=gated", "regularise.apart=0.1"]))


@pytest.mark.parametrize(
    "setting", ["decide.positive=a", "decide.sensitivity=0.9", "regularise.coarse=0.5", "augment.guided=1"]
)
@pytest.mark.parametrize("task", ["multilabel", "regress", "detect"])
def test_wishes_about_one_class_a_picture_are_refused_for_other_tasks(setting, task):
    with pytest.raises(UsageError, match=r"is for one class a picture, not for --task"):
        for_task(load_recipe(None, [setting]), task)


@pytest.mark.parametrize(
    ("task", "settings", "guided"),
    [
        ("classify", [], -1.0),
        ("classify", ["augment.guided=0.25"], 0.25),
        ("multilabel", ["decide.glances=2"], 0.0),
        ("regress", [], 0.0),
    ],
)
def test_only_pictures_of_one_class_are_cropped_around_a_place(task, settings, guided):
    settled = for_task(load_recipe("standard", settings), task)
    assert settled.augment.guided == guided
    assert for_task(settled, task) == settled


def test_a_toml_file_goes_on_the_preset_and_settings_on_the_file(tmp_path):
    path = tmp_path / "my recipe.toml"
    path.write_text('preset = "quick"\nseed = 3\n[picture]\nsize = 96\nfit = "pad"\n[probe]\npower = [1.0]\n')
    recipe = load_recipe(str(path), ["picture.size=128"])
    assert (recipe.seed, recipe.picture.size, recipe.picture.fit, recipe.probe.power) == (3, 128, "pad", (1.0,))


@pytest.mark.parametrize(
    "text",
    [
        "picture = 3",
        "[picture]\nsiez = 3",
        "[picture]\nsize = 2.5",
        "[picture]\nsize = inf",
        "[probe]\nshrinkage = 0.1",
        f"[augment]\ncrop = {10**400}",
        "[picture",
        'preset = "slow"',
        'preset = ["quick"]',
        "[picture.size]\nx = 1",
    ],
)
def test_a_bad_toml_file_is_refused_in_one_sentence(tmp_path, text):
    path = tmp_path / "r.toml"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        load_recipe(str(path))
    assert caught.value.__cause__ is None or "cannot be read" in str(caught.value)


def test_a_toml_file_that_is_not_there_or_no_text_is_refused(tmp_path):
    (tmp_path / "r.toml").write_bytes(b"\xff\xfe")
    for name in ("r.toml", "none.toml", ""):
        with pytest.raises(UsageError, match=r"cannot be read|unknown recipe"):
            load_recipe(str(tmp_path / name))


def test_an_unknown_preset_names_the_near_one():
    with pytest.raises(UsageError, match=r"did you mean quick\? \(or a \.toml file\)"):
        load_recipe("quik")


@pytest.mark.parametrize(
    "text", ["x = " + "[" * 5000 + "]" * 5000, "seed = " + "9" * 5000, f"seed = 0x{'f' * 5000}", f"{'a.' * 5000}b = 1"]
)
def test_a_toml_file_that_python_chokes_on_is_refused_in_one_sentence(tmp_path, text):
    (tmp_path / "r.toml").write_text(text)
    with pytest.raises(UsageError, match=r"cannot be read|seed takes a whole number") as caught:
        load_recipe(str(tmp_path / "r.toml"))
    assert len(str(caught.value)) < 500


def test_a_pipe_or_an_impossible_name_is_no_recipe(fifo):
    for name in (str(fifo("r.toml")), "a\0b.toml"):
        with pytest.raises(UsageError, match="cannot be read: no such file"):
            load_recipe(name)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_written_down_and_read_again_as_the_very_same(name):
    recipe = PRESETS[name]()
    assert repr(from_json(json.loads(json.dumps(recipe.to_json())))) == repr(recipe)
