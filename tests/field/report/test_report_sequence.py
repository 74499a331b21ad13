"""What a person reads of a sequence: its card, its samples, how it learned."""

from xml.etree import ElementTree

import pytest

from fieldmark.field.report import sequence_card
from fieldmark.field.report.charts import loss_chart
from fieldmark.field.report.page import page
from fieldmark.field.runtime import Evaluation

SCORES = {
    "n": 1234,
    "perplexity": 3.1,
    "perplexity_ci": [3.0, 3.2],
    "bits_per_character": 1.63,
    "bits_per_character_ci": [1.6, 1.66],
}
FACTS = {
    "task": "sequence",
    "kind": "text",
    "alphabet": {"characters": "éè"},
    "input": {"name": "codes", "layout": "SN"},
    "states": {"h": [1, 8], "c": [1, 8]},
    "outputs": {"logits": [258]},
    "network": {"name": "charrnn", "cell": "lstm", "parameters": 12_345},
    "samples": [{"temperature": 0.8, "seed": 0, "text": "Once <b>upon</b>\na time \x1b[2J"}],
    "learning": [
        {
            "name": "full",
            "trains": "the whole network",
            "steps": 20,
            "stopped": "planned end",
            "history": [{"step": 10, "fraction": 0.5, "loss": 2.0}, {"step": 20, "fraction": 1.0, "loss": 1.5}],
        }
    ],
    "data": {"source": "/home/me/books/emma.txt", "fingerprint": "ab" * 32, "parts": {"test": {"n": 1234}}},
    "precision": "auto",
    "scores": {"test": SCORES},
    "versions": {"fieldmark": "0.1.0"},
}


def test_the_card_of_a_character_model_says_what_is_needed_to_use_it():
    card = sequence_card(FACTS)
    for words in (
        "character model",
        "1.63 (1.6 to 1.66)",
        "1,234 characters",
        "fieldmark generate BUNDLE",
        "2 characters beyond ASCII",
        "`h_next`",
        "    Once <b>upon</b>",
    ):
        assert words in card
    assert "/home/me" not in card
    assert "\x1b" not in card
    assert card == sequence_card(FACTS)


def test_the_card_of_a_series_model_names_its_columns():
    facts = {**FACTS, "kind": "series", "columns": ["hens", "a|b"], "scores": {"test": {"n": 9, "mae": 0.5}}}
    card = sequence_card({key: value for key, value in facts.items() if key != "samples"})
    assert "series model" in card
    assert "hens, a\\|b" in card
    assert "9 rows" in card
    assert "What it writes" not in card


def test_the_report_shows_samples_and_the_curve_and_speaks_of_characters():
    html = page(FACTS, [Evaluation("test", "the test part", SCORES, (), {}, (), ())])
    body = html.split("<body>")[1].split('id="facts"')[0]
    assert "On the test characters" in body
    assert "Once &lt;b&gt;upon&lt;/b&gt;" in body
    assert "How it learned" in body
    assert "picture" not in body
    assert "\x1b" not in html


@pytest.mark.parametrize("points", [[(0.5, 2.0), (1.0, 1.5)], [(1.0, 2.0)], [(0.5, 1.0), (1.0, 1.0)]])
def test_the_curve_is_well_formed_and_falls_with_the_loss(points):
    root = ElementTree.fromstring(loss_chart(points, "nats"))
    dots = [float(dot.get("cy")) for dot in root.iter() if dot.tag.endswith("circle")]
    assert len(dots) == len(points)
    if points[0][1] > points[-1][1]:
        assert dots[0] < dots[-1]  # further down the page
