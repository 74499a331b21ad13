from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldmark.data import Index, SplitRule, split
from fieldmark.data.split import named
from fieldmark.errors import DataError
from fieldmark.types import Sample


def index_of(counts: dict[str, int], group_size: int = 0, part: str | None = None) -> Index:
    """So many samples a class, in groups of so many (0: without groups)."""
    samples = []
    for label, count in counts.items():
        for i in range(count):
            group = f"{label}-{i // group_size}" if group_size else None
            samples.append(Sample(Path(f"{label}/{i}"), f"{label}/{i:04d}", (label,), part, group))
    return Index("x", tuple(samples))


def parts(index: Index) -> dict[str, str | None]:
    return {s.name: s.split for s in index.samples}


def test_without_splits_seventy_fifteen_fifteen_are_made():
    made = split(index_of({"ash": 200, "oak": 100}), SplitRule())
    assert made.splits == Counter(train=210, val=45, test=45)
    by_class = Counter((s.label, s.split) for s in made.samples)
    assert by_class[("oak", "val")] == by_class[("oak", "test")] == 15


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=12),
    st.integers(0, 3),
    st.integers(0, 5),
    st.floats(0, 0.4),
    st.floats(0, 0.4),
)
def test_every_sample_gets_a_part_every_class_trains_and_groups_stay_together(counts, group, seed, val, test):
    index = index_of({f"c{i}": n for i, n in enumerate(counts)}, group)
    made = split(index, SplitRule(seed, val, test))
    assert [s.name for s in made.samples] == [s.name for s in index.samples]
    assert set(made.splits) <= {"train", "val", "test"}
    assert {s.label for s in made.part("train")} == {s.label for s in index.samples}
    homes = defaultdict(set)
    for s in made.samples:
        homes[s.group or s.name].add(s.split)
    assert all(len(found) == 1 for found in homes.values())


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(10, 60), min_size=1, max_size=8), st.integers(0, 5))
def test_every_class_gives_its_share_within_one(counts, seed):
    made = split(index_of({f"c{i}": n for i, n in enumerate(counts)}), SplitRule(seed))
    given_by = Counter((s.label, s.split) for s in made.samples)
    for i, n in enumerate(counts):
        for part in ("val", "test"):
            assert abs(given_by[(f"c{i}", part)] - 0.15 * n) < 1.6
    assert abs(made.splits["test"] - 0.15 * sum(counts)) <= 1


def test_many_tiny_classes_do_not_empty_a_large_one():
    made = split(index_of({**{f"a{i:02d}": 1 for i in range(60)}, "large": 20}), SplitRule())
    assert sum(s.label == "large" and s.split == "train" for s in made.samples) >= 12


def test_large_groups_still_give_a_test_part_of_about_the_right_size():
    made = split(index_of({f"c{i}": 60 for i in range(10)}, group_size=20), SplitRule())
    assert 60 <= made.splits["test"] <= 120
    assert 60 <= made.splits["val"] <= 120


def test_one_very_large_group_does_not_starve_the_classes_after_it():
    index = index_of({"a": 200}, group_size=100)
    more = index_of({f"b{i}": 20 for i in range(10)})
    made = split(index.with_samples(index.samples + more.samples), SplitRule())
    assert sum(s.split == "test" and s.label != "a" for s in made.samples) >= 20


def test_a_class_with_one_picture_stays_in_training():
    made = split(index_of({"ash": 1, "oak": 30}), SplitRule())
    assert parts(made)["ash/0000"] == "train"


def test_one_class_alone_can_be_split():
    assert split(index_of({"ash": 20}), SplitRule()).splits == Counter(train=14, val=3, test=3)


def test_the_same_seed_makes_the_same_split_and_another_seed_another():
    index = index_of({"ash": 50, "oak": 50})
    assert parts(split(index, SplitRule(1))) == parts(split(index, SplitRule(1)))
    assert parts(split(index, SplitRule(1))) != parts(split(index, SplitRule(2)))


@settings(deadline=None, max_examples=20)
@given(st.randoms(), st.integers(0, 2))
def test_the_order_of_the_rows_does_not_matter(rng, group):
    index = index_of({"ash": 20, "oak": 13, "elm": 4}, group)
    shuffled = list(index.samples)
    rng.shuffle(shuffled)
    assert parts(split(index.with_samples(shuffled), SplitRule())) == parts(split(index, SplitRule()))


def test_one_more_picture_elsewhere_leaves_validation_and_test_apart():
    made = split(index_of({"ash": 100}), SplitRule())
    assert not {s.name for s in made.part("val")} & {s.name for s in made.part("test")}


def test_a_split_that_is_split_again_stays_what_it_is():
    made = split(index_of({"ash": 50, "oak": 50}), SplitRule())
    assert split(made, SplitRule(seed=9)) == made


def test_splits_found_are_used_and_only_missing_ones_made():
    index = index_of({"ash": 100}, part="train")
    mine = Sample(Path("t"), "mine", ("ash",), "val")
    made = split(index.with_samples((*index.samples, mine)), SplitRule())
    assert made.part("val") == (mine,)
    assert made.splits["test"] == 15


def test_no_test_part_is_made_when_none_is_wanted():
    made = split(index_of({"ash": 100}), SplitRule(test=0))
    assert made.splits == Counter(train=85, val=15)


@pytest.mark.parametrize(
    ("written", "part"),
    [("Training", "train"), (" valid ", "val"), ("VALIDATION", "val"), ("val", "val"), ("testing", "test")],
)
def test_other_names_of_the_parts_are_understood(written, part):
    index = Index("x", (Sample(Path("a"), "a", ("ash",), written), Sample(Path("b"), "b", ("ash",), "train")))
    assert named(index).samples[0].split == part
    assert split(index, SplitRule()).samples[0].split == part


def test_an_unknown_split_is_refused_with_the_picture_that_has_it():
    index = Index("x", (Sample(Path("a"), "a.jpg", ("ash",), "tarin"),))
    with pytest.raises(DataError, match=r"a\.jpg: unknown split 'tarin'; use train, val or test"):
        split(index, SplitRule())


def test_some_samples_with_a_split_and_some_without_are_refused():
    index = Index("x", (Sample(Path("a"), "a", ("ash",), "train"), Sample(Path("b"), "b", ("ash",))))
    with pytest.raises(DataError, match="fill in train, val or test for all, or for none"):
        split(index, SplitRule())


def test_data_without_a_train_part_is_refused():
    index = Index("x", (Sample(Path("a"), "a", ("ash",), "test"), Sample(Path("b"), "b", ("ash",), "val")))
    with pytest.raises(DataError, match="has test and val but no train part to learn from; name one 'train'"):
        split(index, SplitRule())


def test_multi_label_samples_are_split_by_their_set_of_labels():
    samples = tuple(Sample(Path(str(i)), str(i), ("a", "b") if i % 2 else ("a",)) for i in range(100))
    made = split(Index("x", samples), SplitRule())
    for part in ("train", "val", "test"):
        with_two = sum(len(s.labels) == 2 for s in made.part(part))
        assert abs(with_two - made.splits[part] / 2) <= 1


def test_a_rule_says_itself_in_json():
    assert SplitRule(**SplitRule(3, 0.1, 0.2).to_json()) == SplitRule(3, 0.1, 0.2)


def test_a_group_that_given_splits_tear_apart_is_refused():
    def rows(*pairs):
        return Index("x", tuple(Sample(Path(f"{i}"), f"{i}", ("a",), part, g) for i, (g, part) in enumerate(pairs)))

    with pytest.raises(DataError, match=r"group 'g' is in train \(0\) and in test \(2\); put it into one part"):
        split(rows(("g", "train"), ("h", "test"), ("g", "testing")), SplitRule())
    split(rows(("g", "train"), ("h", "test"), ("g", "training"), (None, "test"), (None, "train")), SplitRule())


def test_pictures_of_several_classes_are_split_by_their_rarest_one():
    rng = np.random.default_rng(0)
    common = [f"c{i}" for i in range(12)]
    sets = [{*rng.choice(common, 5, replace=False), *(["rare"] if i % 10 == 0 else [])} for i in range(400)]
    samples = tuple(Sample(Path(str(i)), f"{i:03d}", tuple(sorted(names))) for i, names in enumerate(sets))
    made = split(Index("x", samples), SplitRule())
    for part, share in (("train", 0.7), ("val", 0.15), ("test", 0.15)):
        assert abs(made.splits[part] - 400 * share) <= 2
        assert abs(sum("rare" in s.labels for s in made.part(part)) - 40 * share) <= 2


def test_pictures_without_labels_are_one_stratum():
    samples = tuple(Sample(Path(str(i)), f"{i:03d}", () if i % 4 else ("dog",)) for i in range(200))
    made = split(Index("x", samples, kind="boxes"), SplitRule())
    assert made.splits == Counter(train=140, val=30, test=30)
    assert abs(sum(bool(s.labels) for s in made.part("test")) - 7.5) <= 1
