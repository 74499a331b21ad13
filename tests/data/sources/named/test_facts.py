"""The table of data sets: whole, consistent, and what the documents say."""

import re
from pathlib import Path

import pytest

from fieldmark.data.sources.named import OPENERS, data_sets
from fieldmark.data.sources.named.facts import DataSet
from fieldmark.data.sources.named.listing import row, size, way

DOCUMENT = Path(__file__).parents[4] / "docs" / "datasets.md"
SETS = [facts for facts in data_sets().values() if facts.name in OPENERS]
ASKED_FOR = (
    "mnist fashion-mnist kmnist cifar10 cifar100 svhn oxford-pets flowers102 stanford-cars stanford-dogs cub200 "
    "fgvc-aircraft food101 caltech101 eurosat imagenet lfw celeba voc2012 coco ucf101-frames "
    "mnist-5k digits field-guide"
)


def each_set(function):
    return pytest.mark.parametrize("facts", SETS, ids=lambda facts: facts.name)(function)


def test_the_table_has_every_set():
    assert set(data_sets()) == set(ASKED_FOR.split())


@each_set
def test_facts_are_whole(facts: DataSet):
    assert facts.task in ("classify", "multilabel")
    assert facts.pictures > facts.classes > 1
    assert len(facts.class_names) in (0, facts.classes)
    assert len(set(facts.class_names)) == len(facts.class_names)
    assert facts.home.startswith(("http://", "https://"))
    assert facts.title
    assert facts.licence
    assert facts.needs
    assert facts.bytes == sum(file.bytes for file in facts.published) > 0
    assert bool(facts.module) == bool(facts.inside)
    assert not facts.name.endswith("-boxes")
    assert all(name.startswith(f"{facts.name}-") for name in facts.variants)


@each_set
def test_every_file_that_is_downloaded_or_unpacked_is_known_by_a_checksum(facts: DataSet):
    for file in facts.files:
        kind, _, digest = file.checksum.partition(":")
        if file.gives or (facts.downloadable and file in facts.published):
            assert kind in ("sha256", "md5")
        if kind:
            assert len(bytes.fromhex(digest)) == {"sha256": 32, "md5": 16}[kind]
        assert all(url.startswith(("http://", "https://")) for url in file.urls)
        assert bool(file.urls) or not facts.downloadable or file not in facts.published


@each_set
def test_what_a_set_needs_comes_from_its_files(facts: DataSet):
    given = {name for file in facts.files for name in file.gives or (file.name,)}
    if facts.downloadable:
        assert all(any(need == name or need.startswith(f"{name}/") for name in given) for need in facts.needs)
    for file in facts.files:
        assert not Path(file.name).is_absolute()
        assert ".." not in Path(file.name).parts


def test_a_row_of_json_has_the_keys_that_programs_read():
    keys = {"name", "title", "task", "classes", "pictures", "bytes", "licence", "home", "get", "boxes"}
    keys |= {"variants", "present", "folder"}
    assert all(set(row(facts)) == keys for facts in data_sets().values())


@pytest.mark.parametrize(("n", "said"), [(0, "-"), (999, "999 bytes"), (57_523, "57.5 kB"), (170_052_171, "170 MB")])
def test_sizes_for_people(n, said):
    assert size(n) == said


# -- docs/datasets.md


def lines_of_the_table() -> list[str]:
    return [
        f"| {', '.join(f'`{name}`' for name in (facts.name, *facts.variants))} | {facts.title} | {facts.task} "
        f"| {facts.pictures:,} | {facts.classes:,} | {size(facts.bytes)} | {facts.licence} | {way(facts)} |"
        for facts in data_sets().values()
    ]


def lines_of_the_layout() -> list[str]:
    return [
        f"| [{facts.name}]({facts.home}) | {', '.join(f'`{file.name}`' for file in facts.published)} "
        f"| {', '.join(f'`{need}`' for need in facts.needs)} |"
        for facts in SETS
        if not facts.module
    ]


def test_the_document_says_what_the_table_says():
    rows = [line for line in DOCUMENT.read_text(encoding="utf-8").splitlines() if re.match(r"\| [`\[]", line)]
    assert rows == lines_of_the_table() + lines_of_the_layout()
