import json
import os

import pytest
from PIL import Image

from fieldmark.errors import UsageError
from fieldmark.field.explain import Question
from fieldmark.field.explain.draw import explain_files
from tests.making import write_picture


def test_every_picture_gets_a_drawing_and_a_line_in_order(recogniser, tmp_path):
    paths = [write_picture(tmp_path / f"{k}.png", k) for k in range(3)]
    (tmp_path / "bad.jpg").write_text("no picture")
    out = tmp_path / "out"
    out.mkdir()
    found = list(explain_files(recogniser, [paths[0], tmp_path / "bad.jpg", *paths[1:]], out, Question()))
    lines = [json.loads(line) for line in (out / "explain.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [name for name, _ in found] == [line["file"] or "" for line in lines]
    assert [line["error"] is None for line in lines] == [True, False, True, True]
    for line in lines:
        if line["error"] is None:
            with Image.open(out / line["file"]) as drawn:
                assert drawn.size == (24, 20)
            assert line["label"] == recogniser.predict(line["path"]).label
            assert 0 < line["probability"] <= 1


@pytest.mark.parametrize("stem", ["🐦" * 62, os.fsdecode(b"bird\xff"), 'it\'s "one"\nof them', "x" * 250])
def test_names_of_any_kind_are_drawn_and_come_back_from_the_table(recogniser, tmp_path, stem):
    path = write_picture(tmp_path / f"{stem}.png")
    ((name, _),) = explain_files(recogniser, [path], tmp_path, Question())
    assert (tmp_path / name).is_file()
    assert json.loads((tmp_path / "explain.jsonl").read_bytes())["path"] == str(path)


def test_a_question_about_an_unknown_class_is_refused_before_anything_is_written(recogniser, tmp_path):
    with pytest.raises(UsageError, match="did you mean cedar"):
        list(explain_files(recogniser, [], tmp_path, Question(against="ceder")))
    assert list(tmp_path.iterdir()) == []
