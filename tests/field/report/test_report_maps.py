"""The section on maps: its verdict follows the intervals."""

import pytest

from fieldmark.field.report.maps import map_check
from fieldmark.field.report.page import page


def curves(deletion, insertion, centre=0.01):
    """What `check_maps` measured, with these differences to chance, and to the centre so much more or less."""

    def game(difference, level):
        low, high = difference
        return {
            "map": level,
            "random": 0.5,
            "centre": 0.45,
            "map_ci": [level - 0.1, level + 0.1],
            "map_minus_random_ci": [low, high],
            "map_minus_centre_ci": [low + centre, high + centre],
            "curves": {order: [0.9, 0.5, 0.1] for order in ("map", "random", "centre")},
        }

    return {"faithfulness": {"n": 24, "deletion": game(deletion, 0.2), "insertion": game(insertion, 0.8)}}


@pytest.mark.parametrize(
    ("deletion", "insertion", "begins"),
    [
        ((-0.4, -0.2), (0.1, 0.4), "Yes"),
        ((-0.4, 0.1), (0.1, 0.4), "Not surely"),
        ((-0.4, -0.2), (-0.1, 0.4), "Not surely"),
        ((0.1, 0.4), (-0.4, -0.2), "Not surely"),
    ],
)
def test_the_verdict_is_yes_only_where_both_games_are_won_surely(deletion, insertion, begins):
    told = map_check(curves(deletion, insertion))
    assert told["sentences"][0].startswith(begins)
    assert "24 pictures" in told["sentences"][0]
    assert told["rows"][0]["name"] == "the map"
    assert len(told["charts"]) == 2


@pytest.mark.parametrize(("centre", "begins"), [(0.05, "Yes"), (0.15, "Not surely"), (-0.15, "Not surely")])
def test_the_verdict_asks_for_the_centre_too(centre, begins):
    """Above nothing a deletion loses, below it an insertion."""
    told = map_check(curves((-0.3, -0.1), (0.1, 0.3), centre))
    assert told["sentences"][0].startswith(begins)


def test_each_game_is_told_beside_each_baseline_where_one_is_not_won():
    (said,) = map_check(curves((-0.3, -0.1), (0.1, 0.3), 0.35))["sentences"]
    assert "beside chance, better in deletion and better in insertion" in said
    assert "beside the order from the centre outwards, worse in deletion and better in insertion" in said
    (said,) = map_check(curves((-0.3, -0.1), (0.1, 0.3), 0.2))["sentences"]
    assert "not clearly different in deletion" in said


def test_the_pointing_game_is_told_with_chance_beside_it():
    found = {"pointing": {"n": 250, "evidence": 0.344, "evidence_ci": [0.28, 0.404], "chance": 0.027}}
    (sentence,) = map_check(found)["sentences"]
    assert "34.4 %" in sentence
    assert "2.7 %" in sentence
    assert "attention" not in sentence
    found["pointing"] |= {"attention": 0.9, "attention_ci": [0.86, 0.94]}
    assert "90.0 %" in map_check(found)["sentences"][0]
    found["pointing"] |= {"occlusion": 0.875, "occlusion_ci": [0.83, 0.91]}
    assert "87.5 %" in map_check(found)["sentences"][0]


def test_nothing_measured_is_no_section():
    assert map_check(None) is None
    assert map_check({}) is None
    assert 'id="maps"' not in page({"classes": ["a", "b"]}, [])
    assert 'id="maps"' in page({"classes": ["a", "b"]}, [], maps=curves((-0.4, -0.2), (0.1, 0.4)))
