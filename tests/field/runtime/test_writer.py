"""A character model at work: the same text by the same seed, any prompt, scores recomputed, no torch."""

import math
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldmark import bundle as bundles
from fieldmark.errors import BundleError, DataError, UsageError
from fieldmark.field.runtime import Recogniser
from fieldmark.field.runtime.loading import evaluate, load, load_writer, recogniser_of
from fieldmark.field.runtime.writer import Writer, choose_part, draw, surprise
from tests.sequences import SENTENCES, written


@pytest.fixture
def run(tmp_path_factory):
    return written(tmp_path_factory.getbasetemp())


@pytest.fixture
def writer(run) -> Writer:
    return load_writer(run[1].run)


@pytest.mark.parametrize("prompt", ["", "The wren", "鹪鹩", "Зимородок 🦜", "bad \udc80 name"])
def test_the_same_seed_writes_the_same_text_after_any_prompt(writer, prompt):
    text = writer.generate(prompt, 40, seed=7)
    assert len(text) == 40
    assert "\ufffd" not in text
    assert text == writer.generate(prompt, 40, seed=7)
    assert writer.generate(prompt, 40, seed=8) != text


def test_text_is_written_by_the_engine_that_is_quick_at_single_steps_unless_one_was_asked_for(writer, run, monkeypatch):
    pytest.importorskip("onnxruntime")
    assert writer.stepping.name == "onnxruntime"
    asked = load(run[1].run, engine="openvino", precision="f32")
    assert asked.stepping is asked.engine
    assert asked.generate("The wren", 30, temperature=0) == writer.generate("The wren", 30, temperature=0)
    monkeypatch.setattr("fieldmark.field.runtime.writer.installed", lambda package: False)
    other = load(run[1].run)
    assert other.stepping is other.engine


def test_temperature_zero_takes_the_most_probable_and_low_top_p_too(writer):
    text = writer.generate("The", 30, temperature=0)
    assert text == writer.generate("The", 30, temperature=0, seed=5)
    assert text == writer.generate("The", 30, temperature=1, top_p=1e-9, seed=3)


def test_writing_carries_the_state_that_reading_all_at_once_has(writer):
    prompt = "The wren is singing! Der Zaunkönig"
    text = writer.generate(prompt, 12, temperature=0)
    whole, _ = writer.read(prompt + text[:-1])
    codes = writer.alphabet.encode(text)
    assert int(whole.argmax()) == codes[-1]


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        ({"length": -1}, "length"),
        ({"length": 10**9}, "length"),
        ({"temperature": -1}, "temperature"),
        ({"temperature": math.nan}, "temperature"),
        ({"top_p": 0}, "top-p"),
        ({"seed": -1}, "seed"),
        ({"prompt": "x" * 1_000_001}, "prompt"),
    ],
)
def test_wishes_out_of_range_are_one_sentence(writer, wish, says):
    with pytest.raises(UsageError, match=says):
        writer.generate(**wish)


@settings(deadline=None)
@given(st.integers(0, 2**32), st.floats(0.01, 5), st.floats(0.01, 1))
def test_what_is_drawn_is_among_the_most_probable(seed, temperature, top_p):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, 20).astype(np.float32)
    p = np.exp((logits - logits.max()) / np.float64(temperature))
    p /= p.sum()
    code = draw(logits, temperature, top_p, rng)
    assert p[p > p[code]].sum() <= top_p + 1e-6


def test_drawn_codes_are_as_frequent_as_they_are_probable():
    rng, logits = np.random.default_rng(0), np.log(np.array([0.1, 0.6, 0.3], np.float32))
    counts = np.bincount([draw(logits, 1.0, 1.0, rng) for _ in range(5000)], minlength=3)
    np.testing.assert_allclose(counts / 5000, [0.1, 0.6, 0.3], atol=0.03)


def test_surprise_is_minus_the_logarithm_of_the_softmax():
    logits = np.random.default_rng(0).normal(0, 3, (4, 2, 5)).astype(np.float32)
    codes = np.random.default_rng(1).integers(0, 5, (4, 2))
    expected = np.log(np.exp(logits.astype(float)).sum(-1)) - np.take_along_axis(logits, codes[..., None], -1)[..., 0]
    np.testing.assert_allclose(surprise(logits, codes), expected, rtol=1e-5)


def test_scores_are_those_of_reading_code_after_code(writer, run):
    codes = writer.alphabet.encode(SENTENCES * 40)
    start, stop = 700, len(codes)
    scores = writer.score(codes, start, stop)
    states, nats = writer.engine.begin(), []
    for before, after in pairwise(codes):
        logits, states = writer.engine.run(np.array([[before]], np.int64), states)
        nats.append(float(surprise(logits, np.array([[after]], np.int64))[0, 0]))
    text = writer.alphabet.decode(codes[start:stop])
    assert scores["n"] == len(text)
    assert scores["bits_per_character"] == pytest.approx(sum(nats[start - 1 :]) / math.log(2) / len(text), rel=2e-2)


def test_evaluate_takes_the_recorded_tail_and_gives_what_training_gave(run):
    data, result = run
    found = evaluate(result.run, data)
    assert found.split == "test"
    assert found.note == "the test part recorded at training"
    assert found.scores["n"] == result.scores["test"]["n"]
    for key in ("perplexity", "perplexity_ci", "bits_per_character", "bits_per_character_ci"):
        assert found.scores[key] == pytest.approx(result.scores["test"][key])
    assert evaluate(result.run, data, "val").scores["n"] == result.scores["val"]["n"]
    assert {"n", "split", "perplexity", "perplexity_ci", "bits_per_character", "bits_per_character_ci"} <= set(
        found.to_json()
    )


def test_other_text_is_scored_whole_and_has_no_parts(run, tmp_path):
    (tmp_path / "b.txt").write_text("Quite another text. " * 60)
    found = evaluate(run[1].run, tmp_path / "b.txt")
    assert (found.split, found.scores["n"]) == ("all", 1199)  # nothing comes before the first
    with pytest.raises(UsageError, match="other data than at training"):
        evaluate(run[1].run, tmp_path / "b.txt", "test")
    with pytest.raises(UsageError, match="split"):
        evaluate(run[1].run, tmp_path / "b.txt", "tset")
    (tmp_path / "c.txt").write_text("")
    with pytest.raises(DataError, match="0 characters"):
        evaluate(run[1].run, tmp_path / "c.txt")


def test_the_parts_meet_and_end_with_the_text(run):
    loaded = bundles.load(run[1].run)
    same = loaded.facts["data"]["fingerprint"]
    places = [choose_part(loaded, 1000, same, part)[2] for part in ("train", "val", "test", "all")]
    assert places == [(0, 850), (850, 900), (900, 1000), (0, 1000)]


def test_a_long_part_is_scored_in_passages(writer, monkeypatch):
    codes = np.resize(writer.alphabet.encode(SENTENCES), 20_000)
    monkeypatch.setattr("fieldmark.field.runtime.writer.MOST_SCORED", 5_000)
    assert 3_000 < writer.score(codes, 0, 20_000)["n"] <= 5_100


def test_bundles_of_another_kind_say_what_to_use(run, bundle, writer):
    with pytest.raises(UsageError, match="fieldmark predict"):
        load_writer(bundle.path)
    with pytest.raises(UsageError, match="fieldmark generate"):
        recogniser_of(writer)
    with pytest.raises(UsageError, match="fieldmark generate"):
        Recogniser(writer.bundle)
    with pytest.raises(UsageError, match="glances"):
        load(run[1].run, glances=2)
    assert isinstance(load(bundle.path), Recogniser)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"alphabet": {"characters": "a"}}, "alphabet"),
        ({"alphabet": None}, "alphabet"),
        ({"alphabet": {"characters": "éè"}}, "another size"),
        ({"kind": "pictures"}, "kind must be"),
        ({"states": {"h": [1, 10**9]}}, "out of range"),
        ({"states": {"h": [1, 16], "c": [1, 8]}}, "cannot be run|wrong shape"),
        ({"states": {"h": [1, 16]}}, "cannot be run|wrong shape"),
        ({"outputs": {"logits": [256]}}, "another size|alphabet"),
        ({"precision": "int4"}, "precision"),
        ({"data": {"val": 2}}, "out of range"),
        ({"input": {"name": "letters"}}, "cannot be run"),
    ],
)
def test_a_bundle_whose_facts_do_not_fit_is_one_sentence(run, tmp_path, change, says):
    good = bundles.load(run[1].run)
    facts = {k: v for k, v in good.facts.items() if k not in ("files", "checksum", "format")} | change
    (tmp_path / "b").mkdir()
    bundles.save(tmp_path / "b", facts, {name: good.read(name) for name in (bundles.MODEL, bundles.WEIGHTS)})
    with pytest.raises(BundleError, match=says):
        load(tmp_path / "b").generate("x", 3)


def test_it_writes_without_torch(run):
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from fieldmark import load\n"
        "print(len(load(sys.argv[1]).generate('鹪', 20)))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(run[1].run)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["20"]


def test_onnx_runtime_writes_the_same_text(run):
    pytest.importorskip("onnxruntime")
    texts = [
        load(run[1].run, precision="f32", engine=name).generate("The", 30, 0) for name in ("openvino", "onnxruntime")
    ]
    assert texts[0] == texts[1]
