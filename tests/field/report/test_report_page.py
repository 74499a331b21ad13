"""The report's form, its independence of anything outside, and its words."""

import itertools
import re
import sys
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest

from fieldmark.data import Skipped
from fieldmark.data.index import Note
from fieldmark.errors import MissingExtraError
from fieldmark.field.report import Mistake, Shown, findings, sections, write_report
from fieldmark.field.report.page import page
from fieldmark.field.report.verdict import hundred
from fieldmark.field.runtime.evaluation import Evaluation
from fieldmark.types import Sample

VOID = {"meta", "img", "link", "br", "hr", "input"}
BIRDS = ("Great tit", "大山雀", "Blue tit", "وقواق")


class Parsed(HTMLParser):
    """Tags with attributes and the text of a page; an unbalanced tag fails."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.tags, self.open, self.text = [], [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.text.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]

    @property
    def words(self):
        return " ".join("".join(self.text).split())


def picture(seed, w=40, h=30):
    return np.random.default_rng(seed).integers(0, 256, (h, w, 3), dtype=np.uint8)


def whole_page(names, evaluation_of, facts_of):
    test = evaluation_of(names, skipped=(Skipped("bad.jpg", "the file is empty"),))
    val = evaluation_of(names, seed=1, split="val")
    wrong = [Mistake(f"{n}.jpg", n, names[0], 0.9, 0.05, picture(1), picture(2), "test") for n in names]
    wrong.append(Mistake("no evidence.jpg", names[0], names[1], 0.8, 0.1, picture(5)))
    grid = [Shown(picture(3, 600, 500), n) for n in names]
    steps = [(f"step {n}", float(i)) for i, n in enumerate(names)]
    facts = facts_of(names, (val, test))
    facts["coarse"] = {n: f"group {n}" for n in names}
    return page(facts, [val, test], wrong, grid, steps)


def svgs(html):
    return re.findall(r"<svg.*?</svg>", html, re.DOTALL)


@pytest.fixture
def hostile_page(hostile, evaluation_of, facts_of):
    return whole_page(hostile, evaluation_of, facts_of)


def test_hostile_names_are_only_text(hostile_page, hostile):
    parsed = Parsed(hostile_page)
    assert parsed.all("script") == []
    assert not [a for _, attrs in parsed.tags for a in attrs if a.startswith("on")]
    for name in hostile[:7]:
        assert " ".join(name.split()) in parsed.words
    assert "49 {% raw" not in parsed.words
    assert not re.search("[\x00-\x08\ud800-\udfff]", hostile_page)
    for svg in svgs(hostile_page):
        ElementTree.fromstring(svg)


def test_nothing_comes_from_outside(hostile_page):
    assert "http://" not in hostile_page
    assert "https://" not in hostile_page
    assert "@import" not in hostile_page
    assert "url(" not in hostile_page
    parsed = Parsed(hostile_page)
    sources = [attrs[key] for _, attrs in parsed.tags for key in ("src", "href") if key in attrs]
    assert sources
    assert all(s.startswith(("data:image/jpeg;base64,", "#")) for s in sources)
    assert not parsed.all("link")
    policy = next(m["content"] for m in parsed.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")


def test_structure(evaluation_of, facts_of):
    parsed = Parsed(whole_page(BIRDS, evaluation_of, facts_of))
    assert parsed.all("html")[0]["lang"] == "en"
    assert len(parsed.all("h1")) == len(parsed.all("main")) == 1
    levels = [int(tag[1]) for tag, _ in parsed.tags if re.fullmatch(r"h\d", tag)]
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))
    assert all(th.get("scope") in ("row", "col") for th in parsed.all("th"))
    assert all(img["alt"] for img in parsed.all("img"))
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in parsed.all("svg"))
    ids = [attrs["id"] for _, attrs in parsed.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert {a["href"][1:] for a in parsed.all("a")} <= set(ids)
    assert len(parsed.all("img")) == 2 * len(BIRDS) + 1 + len(BIRDS)


def test_what_it_says(evaluation_of, facts_of):
    test = evaluation_of(BIRDS, n=200)
    html = page(facts_of(BIRDS, (test,)), [test])
    said = Parsed(html).words
    accuracy, (low, high) = test.scores["accuracy"], test.scores["accuracy_ci"]
    assert f"about {accuracy:.0%} ({low:.0%} to {high:.0%})".replace("%", "") in said
    most = max(Counter(s.label for s in test.samples).values()) / 200
    assert f"Always naming the most frequent class would get {most:.0%} of 100".replace("%", "") in said
    assert f"{100 * accuracy:.1f} %" in said
    assert "recipe" in said.lower()
    assert "0.003" in said
    assert "/home/somebody" not in html
    assert "secret" not in html


def test_the_test_part_comes_first_and_others_are_folded(evaluation_of, facts_of):
    parts = sections.parts_of({}, [evaluation_of(BIRDS, split="val"), evaluation_of(BIRDS, split="test")])
    assert [p["split"] for p in parts] == ["test", "val"]
    html = whole_page(BIRDS, evaluation_of, facts_of)
    assert html.index("The answers on the test pictures") < html.index("The answers on the validation pictures")
    assert "<details><summary><h2>The answers on the validation pictures" in html


def test_confused_pairs_are_counted(evaluation_of):
    evaluation = evaluation_of(BIRDS, n=300, skill=1.0, truths=None)
    counts = Counter(
        (s.label, p.label)
        for s, p in zip(evaluation.samples, evaluation.predictions, strict=True)
        if s.label != p.label
    )
    pairs = findings.confused_pairs(findings.answers(evaluation), most=5)
    assert [pair.count for pair in pairs] == sorted(counts.values(), reverse=True)[:5]
    for pair in pairs:
        assert pair.count == counts[pair.truth, pair.predicted]
        assert pair.back == counts[pair.predicted, pair.truth]
        assert pair.of == sum(s.label == pair.truth for s in evaluation.samples)


def test_a_large_matrix_keeps_the_most_confused_classes_side_by_side(evaluation_of):
    names = tuple(f"c{i:02}" for i in range(60))
    evaluation = evaluation_of(names, truths=list(names) * 10, skill=30.0)
    found = findings.answers(evaluation)
    assert findings.confusion_matrix(found, names).names == ()  # nothing is confused
    predicted = tuple("c50" if t == "c03" else "c04" if t == "c51" else t for t in found.truth)
    correct = np.array([t == p for t, p in zip(found.truth, predicted, strict=True)])
    matrix = findings.confusion_matrix(findings.Answers(found.truth, predicted, found.confidence, correct), names)
    assert matrix.names == ("c03", "c50", "c04", "c51")
    assert matrix.left_out == 56
    assert matrix.counts.tolist() == [[0, 10, 0, 0], [0, 10, 0, 0], [0, 0, 10, 0], [0, 0, 10, 0]]


def test_classes_of_many_are_folded_after_the_worst(evaluation_of, facts_of):
    names = tuple(f"c{i:02}" for i in range(30))
    test = evaluation_of(names, n=400)
    html = page(facts_of(names, (test,)), [test])
    assert f"The other {30 - sections.WORST_CLASSES} classes" in html
    rows = findings.class_rows({"per_class": {"a": {"recall": 0.9, "n": 3}, "b": {"recall": 0, "n": 0}}}, {"a": "x"})
    assert [r["name"] for r in rows] == ["a", "b"]
    assert rows[0]["coarse"] == "x"


def test_unknown_classes_are_named_and_count_as_wrong(evaluation_of, facts_of):
    test = evaluation_of(BIRDS, truths=["Dodo <i>"] * 5 + list(BIRDS) * 5, skill=9.0)
    said = Parsed(page(facts_of(BIRDS), [test])).words
    assert "Unknown to the recogniser, and so counted as wrong: Dodo <i>." in said
    assert all(p.truth == "Dodo <i>" for p in findings.confused_pairs(findings.answers(test)))


@pytest.mark.parametrize("facts", [{}, {"data": None, "coarse": None, "scores": None, "recipe": {}}, {"classes": []}])
def test_missing_keys(facts, evaluation_of):
    Parsed(page(facts, [evaluation_of(BIRDS)]))
    assert "Nothing has been scored yet." in Parsed(page(facts, [])).words


def test_recorded_scores_stand_in_for_evaluations(evaluation_of, facts_of):
    said = Parsed(page(facts_of(BIRDS, (evaluation_of(BIRDS),)), [])).words
    assert "are named right" in said
    assert "What is confused with what" not in said
    assert "2 pictures or rows could not be used" in said


def test_all_right_and_one_class(evaluation_of, facts_of):
    perfect = evaluation_of(BIRDS, skill=50.0)
    assert perfect.scores["accuracy"] == 1
    said = Parsed(page(facts_of(BIRDS), [perfect])).words
    assert "No picture of this part was named wrong." in said
    assert "about 100 (97 to 100)" in said
    assert "worst mistakes" not in said
    Parsed(page(facts_of(("only",)), [evaluation_of(("only",))]))
    Parsed(page(facts_of(BIRDS), [evaluation_of(BIRDS, truths=["Blue tit"])]))


def test_nothing_sure(evaluation_of, facts_of):
    test = evaluation_of(BIRDS)
    test.scores.update(unsure=1.0, accuracy_when_sure=None, accuracy_ci=[float("nan")] * 2)
    html = page(facts_of(BIRDS), [test])
    assert "nan" not in Parsed(html).words.lower()
    assert "“unsure” rule stands now" not in html


def test_other_tasks_have_cards_only():
    samples = (Sample("a.jpg", "a.jpg"),)
    scores = {"n": 1, "miou": 0.61, "iou": {"cat": 0.7}, "strange_new": 3}
    evaluation = Evaluation("test", "", scores, samples, {}, (), ())
    said = Parsed(page({"task": "segment", "classes": ["cat"]}, [evaluation])).words
    assert "On the test pictures: Mean IoU 61.0 %, strange_new 3." in said
    assert "What is confused with what" not in said


def test_masks_are_told_class_by_class():
    row = {"iou": 0.25, "recall": 0.5, "precision": 0.4, "boundary_f": 0.3, "n": 7}
    rows = {"background": {**row, "iou": 0.9}, "crack": {**row, "marked": 0.6, "found": 0.71}}
    scores = {"n": 9, "miou": 0.58, "foreground_iou": 0.3, "iou": {}, "per_class": rows}
    evaluation = Evaluation("test", "", scores, (Sample("a.jpg", "a.jpg"),), {}, (), ())
    said = Parsed(page({"task": "segment", "classes": ["background", "crack"]}, [evaluation])).words
    assert "crack25 %50 %40 %30 %60 %71 %7 background90 %" in said
    assert "by kinds, and the background with them, mean IoU is 58 %" in said


def test_skipped_are_listed_once_and_capped(evaluation_of, facts_of):
    skipped = tuple(Skipped(f"p{i}.jpg", "the file is empty") for i in range(130))
    both = [evaluation_of(BIRDS, split=s, skipped=skipped) for s in ("val", "test")]
    html = page(facts_of(BIRDS), both)
    assert "130 pictures or rows" in html
    assert html.count("the file is empty") == 100
    assert "And 30 more." in html


def test_notes_on_annotations_are_listed_once(evaluation_of, facts_of):
    notes = (Note("boxes.csv, row 3", "corners were swapped"), Note("boxes.csv, row 4", "<b>outside"))
    both = [replace(evaluation_of(BIRDS, split=s), notes=notes) for s in ("val", "test")]
    html = page(facts_of(BIRDS), both)
    assert "2 annotations were mended" in html
    assert html.count("corners were swapped") == 1
    assert "&lt;b&gt;outside" in html
    assert "Annotations</h2>" not in page(facts_of(BIRDS), [evaluation_of(BIRDS)])


def test_hundred_never_rounds_to_certainty():
    assert [hundred(v) for v in (0, 0.002, 0.764, 0.996, 0.9999, 1)] == [
        "0", "fewer than 1", "76", "99.6", "over 99.9", "100",
    ]  # fmt: skip


def test_same_input_same_bytes_written_at_once(tmp_path, evaluation_of, facts_of):
    test = evaluation_of(BIRDS)
    for name in ("a.html", "b.html"):
        write_report(
            tmp_path / name,
            facts=facts_of(BIRDS, (test,)),
            evaluations=[test],
            training_grid=[Shown(picture(0), "大山雀")],
            steps=[("train", 3.0), ("broken clock", float("nan"))],
        )
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.html", "b.html"]
    assert "broken clock" not in (tmp_path / "a.html").read_text("utf-8")


def test_without_jinja2_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtraError, match=r"fieldmark\[report\]"):
        write_report(tmp_path / "r.html", facts={}, evaluations=[])
    assert not list(tmp_path.iterdir())
