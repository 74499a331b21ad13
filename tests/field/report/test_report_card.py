"""The model card: what it must say, and that names cannot break it."""

import copy

from fieldmark.field.report import model_card

BIRDS = ("Great tit", "大山雀", "Blue tit")


def test_it_says_what_a_stranger_needs(evaluation_of, facts_of):
    test = evaluation_of(BIRDS)
    card = model_card(facts_of(BIRDS, (test,)))
    assert card.startswith("# birds: a Fieldmark recogniser\n")
    assert "3 classes of birds apart: Great tit, 大山雀, Blue tit." in card
    low, high = test.scores["accuracy_ci"]
    accuracy = test.scores["accuracy"]
    assert f"| {100 * accuracy:.1f} % ({100 * low:.1f} to {100 * high:.1f} %) |" in card
    for needed in (
        "| train | 30 |",
        "one temperature, 1.23",
        "below 50 %",
        "fieldmark predict",
        "fieldmark.load",
        "224 × 224 pixels, bilinear",
        "tf\\_efficientnet\\_lite0, 4,652,008 parameters",
        "output `logits`",
        "up to 512 training and validation pictures",
        "| numpy | 2.2.0 |",
    ):
        assert needed in card


def test_no_place_and_the_same_text_again(evaluation_of, facts_of):
    facts = facts_of(BIRDS, (evaluation_of(BIRDS),))
    card = model_card(facts)
    assert "/home" not in card
    assert "secret" not in card
    assert card == model_card(copy.deepcopy(facts))


def test_missing_keys():
    for facts in (
        {},
        {"task": "segment", "outputs": ["mask"]},
        {"data": None, "scores": {"val": None}, "versions": {}},
    ):
        card = model_card(facts)
        assert card.startswith("# A Fieldmark recogniser")
        assert "None" not in card
        assert "nan" not in card


def test_hostile_names_stay_in_their_line(hostile, facts_of):
    facts = facts_of(("line\nbreak\n# heading", *hostile))
    facts["data"]["source"] = "a|b`c"
    facts["data"]["parts"] = {"tr|ain\n## x": {"n": 1, "fingerprint": "`|`"}}
    card = model_card(facts)
    card.encode("utf-8")
    assert "<script>" not in card
    assert "\n# heading" not in card
    assert "\n## x" not in card
    table = [line for line in card.splitlines() if line.startswith("| tr")]
    assert len(table) == 1
    assert table[0].replace("\\|", "").count("|") == 5


def test_many_classes_are_cut_short(facts_of):
    card = model_card(facts_of(tuple(f"class {i}" for i in range(100))))
    assert "class 11 and 88 more" in card
    assert "class 12" not in card
