"""Every member of every table does what its protocol says."""

import inspect
import json

import numpy as np
import pytest
from PIL import Image

from fieldmark.data import Index
from fieldmark.data.sources import NAMED, open_data
from fieldmark.errors import DataError, UsageError
from fieldmark.field.runtime.engine import ENGINES, PRECISIONS, compile_engine
from fieldmark.field.runtime.recogniser import collect
from fieldmark.field.tasks import TASKS, OnLogits, Task, TaskFacts, get_task
from fieldmark.geometry import plain
from fieldmark.types import Boxes, MaskFile, Prediction, Preprocess, Sample
from fieldmark.workshop.export.onnx import EXPORTERS, export_onnx
from fieldmark.workshop.models import Network, create_backbone, weights
from fieldmark.workshop.models.network import OUTPUTS
from fieldmark.workshop.recipe import PRESETS, Recipe, check, load_recipe
from fieldmark.workshop.train.wish import TASKS as TRAINED
from tests.making import CLASSES, SIZE, by_hand, network_weights, tiny_onnx


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_makes_a_recipe_of_its_name_that_can_be_used(name):
    recipe = PRESETS[name]()
    assert isinstance(recipe, Recipe)
    assert check(recipe).name == name
    assert load_recipe(name) == recipe
    said = inspect.getdoc(PRESETS[name])
    assert said is not None
    assert f"--recipe {name}" in said
    assert "%" in said or "not measured" in said


RAW = {  # a network's outputs for six pictures, by task, from logits [6, 3] and a box [1, 4]
    "classify": lambda logits, box: {"logits": logits},
    "multilabel": lambda logits, box: {"logits": logits},
    "regress": lambda logits, box: {"logits": logits},
    "detect": lambda logits, box: {"logits": logits[:, None], "boxes": np.tile(box, (6, 1, 1))},
    "segment": lambda logits, box: {"logits": np.tile(logits[:, :, None, None], (1, 1, 8, 8))},
}


@pytest.mark.parametrize("name", TASKS)
def test_a_task_predicts_and_scores(name, tmp_path):
    task: Task = get_task(name)
    assert task.name == name
    facts = TaskFacts(CLASSES, target={"mean": 0.0, "scale": 1.0})
    box = np.array([[4, 4, 20, 20]], np.float32)
    labels = [(CLASSES[i % 3],) for i in range(6)]
    samples = []
    for i, label in enumerate(labels):
        place = tmp_path / f"{i}.png"
        Image.fromarray(np.full((30, 40), i % 3, np.uint8)).save(place)
        truth = {"boxes": Boxes(box, label), "mask": MaskFile(place, CLASSES)}
        samples.append(Sample(place, place.name, label, target=float(i), **truth))
    logits = np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1, 0]] * 5
    raw = RAW[name](logits, box)
    assert task.unfit(raw, 3) == ""
    assert task.alike(raw, raw, facts).tolist() == [1] * 6
    geometry = plain((40, 30), Preprocess((32, 32))) if task.located else None
    outputs = collect([dict(task.keep({k: v[i] for k, v in raw.items()}, geometry, facts)) for i in range(6)])
    predictions = task.predict([s.name for s in samples], outputs, facts)
    assert [p.path for p in predictions] == [s.name for s in samples]
    assert all(isinstance(p, Prediction) and p.error is None for p in predictions)
    scores = task.score(samples, outputs, facts)
    assert scores["n"] == 6
    assert {task.headline, task.guess(samples, facts).key} <= set(scores)
    assert task.each(samples, outputs, facts).shape == (6,)
    if isinstance(task, OnLogits):
        assert all(set(p.extra) <= set(task.columns(facts)) for p in predictions)
        assert task.margins(logits, facts).shape == (6,)
        assert len(task.decisions(logits, facts)) == len(task.strength(outputs, facts)) == 6


def test_every_task_that_is_trained_is_a_task_of_the_field():
    assert set(TRAINED) - {"auto"} == set(TASKS)
    with pytest.raises(UsageError, match="classify"):
        get_task("clasify")


@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_runs_a_network(name):
    if name == "onnxruntime":
        pytest.importorskip("onnxruntime")
    made = network_weights()
    engine = compile_engine(tiny_onnx(made), "f32", 1, name)
    assert (engine.name, engine.precision) == (name, "f32")
    assert engine.micro_batch >= 1
    pictures = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3)).astype(np.uint8)
    expected = by_hand(made, pictures)
    found = engine.run(pictures, OUTPUTS)
    assert set(found) == set(OUTPUTS)
    for key, value in found.items():
        assert value.dtype == np.float32
        np.testing.assert_allclose(value, expected[key], rtol=1e-3, atol=1e-3)
    assert set(engine.run(pictures, ("logits",))) == {"logits"}


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_precision_is_what_the_engine_then_says(precision):
    engine = compile_engine(tiny_onnx(network_weights()), precision, 1)
    assert engine.precision in (("bf16", "f32") if precision == "auto" else (precision,))


@pytest.mark.parametrize("name", EXPORTERS)
def test_an_exporter_makes_a_network_that_every_engine_takes(name):
    network = Network(create_backbone("test_resnet", "none", 32), 3).eval().requires_grad_(False)
    made = export_onnx(network, (32, 32), name)
    pictures = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.uint8)
    answers = []
    for engine in ENGINES:
        if engine == "onnxruntime":
            pytest.importorskip("onnxruntime")
        answers.append(compile_engine(made, "f32", 1, engine).run(pictures, OUTPUTS))
    for key in OUTPUTS:
        np.testing.assert_allclose(answers[0][key], answers[-1][key], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", weights.EMBEDDED)
def test_embedded_weights_are_installed_of_a_known_network_and_pinned(name):
    import timm

    assert timm.is_model(name)
    assert weights.has_embedded(name)
    entry = weights.EMBEDDED[name]
    assert len(bytes.fromhex(entry.sha256)) == 32
    assert entry.sha256[:8] in entry.file


@pytest.mark.parametrize("name", NAMED)
def test_a_misspelt_set_is_suggested_by_its_name(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert callable(NAMED[name])
    with pytest.raises(DataError, match=f"did you mean.*{name}"):
        open_data(f"{name}x")


def test_the_field_guide_opens_by_its_name(tmp_path, monkeypatch):
    (tmp_path / "labels.csv").write_text("path,label\na.png,wren\n")
    (tmp_path / "a.png").write_bytes(b"x")
    marks = [
        {"image_id": 1, "category_id": 2, "bbox": [3, 4, 10, 20], "attributes": {"telling": t}} for t in (True, False)
    ]
    names = [{"id": 1, "name": "bird"}, {"id": 2, "name": "brow"}]
    boxes = {"images": [{"id": 1, "file_name": "a.png"}], "annotations": marks, "categories": names}
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    monkeypatch.setattr("fieldmark.data.synthetic.cached_field_guide", lambda progress: tmp_path)
    index = open_data("field-guide")
    assert isinstance(index, Index)
    assert (index.source, len(index.samples)) == ("field-guide", 1)
    assert index.samples[0].boxes.labels == ("brow",)
    assert index.samples[0].boxes.xyxy.tolist() == [[3, 4, 13, 24]]
