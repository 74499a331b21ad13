import json
import os
import shutil
import stat
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fieldmark import bundle as bundles
from fieldmark.bundle import Bundle
from fieldmark.errors import BundleError, FieldmarkError, UsageError
from fieldmark.field.runtime import Recogniser
from tests.making import tiny_bundle, tiny_facts

FILES = [bundles.MODEL, bundles.WEIGHTS, bundles.CARD]


@pytest.fixture
def folder(bundle: Bundle, tmp_path: Path) -> Path:
    """A copy of the bundle, to be spoiled."""
    return Path(shutil.copytree(bundle.path, tmp_path / "bundle"))


@pytest.fixture
def zipped(bundle: Bundle, tmp_path: Path) -> Path:
    bundles.write_zip(bundle, tmp_path / "a.fieldmark")
    return tmp_path / "a.fieldmark"


def change(folder: Path, **changes) -> Path:
    """Overwrite facts of a bundle as a forger would, with a checksum that fits; None takes one away."""
    facts = json.loads((folder / bundles.FACTS).read_text())
    facts = {k: v for k, v in (facts | changes).items() if v is not None}
    facts["checksum"] = bundles.checksum(facts)
    (folder / bundles.FACTS).write_text(json.dumps(facts))
    return folder


def list_file(folder: Path, name: str, **entry) -> Path:
    facts = json.loads((folder / bundles.FACTS).read_text())
    facts["files"][name] = {"sha256": bundles.sha256(b"x"), "bytes": 1, **entry}
    return change(folder, files=facts["files"])


def zip_of(out: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out


def members(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}


def refused(place: Path, says: str) -> None:
    with pytest.raises(BundleError, match=says) as caught:
        bundles.load(place)
    assert str(place) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_saved_bundle_loads_with_its_facts_and_files(folder, bundle):
    loaded = bundles.load(folder)
    assert (loaded.task, loaded.classes) == ("classify", ("ash", "beech", "cedar"))
    assert loaded.facts == bundle.facts
    assert set(loaded.facts["files"]) == set(FILES)
    assert loaded.read(bundles.CARD) == b"# A tiny recogniser\n"


def test_a_run_stands_for_its_bundle(folder, tmp_path):
    assert bundles.load(tmp_path).path == folder
    assert bundles.load(str(tmp_path)).path == folder


def test_the_same_bundle_saved_twice_has_the_same_bytes(tmp_path):
    tiny_bundle(tmp_path / "a")
    tiny_bundle(tmp_path / "b")
    assert members(tmp_path / "a") == members(tmp_path / "b")


def test_a_bundle_goes_into_a_zip_and_back(bundle, zipped, tmp_path):
    loaded = bundles.load(zipped)
    assert loaded.facts == bundle.facts
    assert [loaded.read(name) for name in FILES] == [bundle.read(name) for name in FILES]
    with zipfile.ZipFile(zipped) as archive:
        archive.extractall(tmp_path / "out")
    assert members(tmp_path / "out") == members(bundle.path)
    bundles.write_zip(bundles.load(tmp_path / "out"), tmp_path / "b.fieldmark")
    assert (tmp_path / "b.fieldmark").read_bytes() == zipped.read_bytes()


def test_a_zip_made_by_other_tools_loads(folder, tmp_path):
    assert bundles.load(zip_of(tmp_path / "x.zip", members(folder))).classes == ("ash", "beech", "cedar")


def test_a_zip_is_not_overwritten(bundle, zipped):
    before = zipped.read_bytes()
    with pytest.raises(UsageError, match="exists; choose another name"):
        bundles.write_zip(bundle, zipped)
    assert zipped.read_bytes() == before


def test_a_file_that_is_not_listed_is_not_read(folder):
    (folder / "extra.bin").write_bytes(b"x")
    with pytest.raises(BundleError, match=r"does not name extra\.bin"):
        bundles.load(folder).read("extra.bin")


def test_a_model_that_is_not_listed_is_not_used(folder):
    facts = json.loads((folder / bundles.FACTS).read_text())
    change(folder, files={n: e for n, e in facts["files"].items() if n != bundles.MODEL})
    with pytest.raises(BundleError, match=r"does not name model\.onnx"):
        Recogniser(bundles.load(folder)).predict(b"")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("place", [0, 0.5, 1])
def test_one_changed_bit_of_a_file_is_noticed(folder, name, place):
    data = bytearray((folder / name).read_bytes())
    data[int(place * (len(data) - 1))] ^= 1
    (folder / name).write_bytes(data)
    refused(folder, f"{name} was changed or damaged")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("change_by", [-1, 1])
def test_a_file_cut_or_grown_is_noticed(folder, name, change_by):
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[:-1] if change_by < 0 else data + b"\0")
    refused(folder, f"{name} was changed or damaged")


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_noticed(folder, name):
    (folder / name).unlink()
    refused(folder, f"incomplete: {name} is missing")


def test_a_folder_or_a_pipe_in_a_files_place_is_noticed(folder):
    (folder / bundles.CARD).unlink()
    (folder / bundles.CARD).mkdir()
    refused(folder, "missing")
    (folder / bundles.CARD).rmdir()
    os.mkfifo(folder / bundles.CARD)
    refused(folder, "missing")


def test_no_bundle_at_all_is_said_plainly(tmp_path):
    refused(tmp_path / "nowhere", "no such bundle; give a run folder")
    refused(tmp_path, r"holds no bundle\.json; give a run folder")
    refused(tmp_path / ("x" * 5000), "no such bundle")


def test_a_run_without_a_bundle_says_how_to_go_on(tmp_path):
    (tmp_path / "recipe.json").write_text("{}")
    refused(tmp_path, "did not finish; run train with --resume")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not valid JSON"),
        ("{", "not valid JSON"),
        ('{"format": 1', "not valid JSON"),
        ("\xff", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[]", "not a JSON object"),
        ("null", "not a JSON object"),
        ("{}", "no valid format number"),
        ('{"format": "1"}', "no valid format number"),
        ('{"format": 0}', "no valid format number"),
        ('{"format": 1}', "lacks task, classes, preprocess, outputs, files"),
    ],
)
def test_facts_that_are_none_are_refused(folder, text, says):
    (folder / bundles.FACTS).write_bytes(text.encode("latin-1"))
    refused(folder, says)


def test_a_newer_format_asks_for_an_upgrade(folder):
    refused(change(folder, format=2), "made by a newer Fieldmark.*upgrade Fieldmark")


@pytest.mark.parametrize("key", ["task", "classes", "preprocess", "outputs", "files"])
def test_a_missing_fact_is_named(folder, key):
    refused(change(folder, **{key: None}), f"incomplete: bundle.json lacks {key}")


def test_files_must_be_an_object(folder):
    refused(change(folder, files=[bundles.MODEL]), "lacks files")


@pytest.mark.parametrize(
    "entry", [{"bytes": 9_000_000_000}, {"bytes": "1"}, {"bytes": None}, {"bytes": 1.0}, {"bytes": -1}, {"sha256": 5}]
)
def test_an_entry_that_cannot_be_is_refused(folder, entry):
    (folder / "a.bin").write_bytes(b"x")
    bundles.load(list_file(folder, "a.bin"))
    refused(list_file(folder, "a.bin", **entry), "a.bin.* is not valid|a.bin was changed|more than 4 GB")


def test_an_entry_that_is_no_object_is_refused(folder):
    facts = json.loads((folder / bundles.FACTS).read_text())
    refused(change(folder, files={**facts["files"], "a.bin": "x"}), "entry of a.bin")


def test_absurdly_many_files_are_refused(folder):
    refused(change(folder, files={f"f{i}": {} for i in range(1001)}), "more than 1000 files")


def test_absurdly_large_facts_are_refused(folder, monkeypatch):
    monkeypatch.setattr(bundles, "MAX_FACTS_BYTES", 1_000_000)
    change(folder, note="x" * 1_000_000)
    refused(folder, "larger than 1 MB")


ATTACKS = ["../x", "/etc/hostname", "a/b", "..", ".", "", "a\\b", "C:x", "a\0b", ".hidden", "x" * 101, "..a", "a..b"]


@pytest.mark.parametrize("name", ATTACKS)
def test_a_name_that_leads_out_of_the_folder_is_refused(folder, name):
    (folder.parent / "x").write_bytes(b"x")
    refused(list_file(folder, name), "names a file outside the bundle")


@pytest.mark.parametrize("name", ATTACKS)
def test_a_name_that_leads_out_of_the_zip_is_refused(folder, tmp_path, name):
    list_file(folder, name)
    with_it = {**members(folder), name.replace("\0", "") or "empty": b"x"}
    refused(zip_of(tmp_path / "a.fieldmark", with_it), "names a file outside the bundle")


@pytest.mark.parametrize("name", [bundles.FACTS, *FILES])
def test_a_link_that_leads_out_of_the_bundle_is_refused(folder, name, tmp_path):
    shutil.move(folder / name, tmp_path / "outside")
    (folder / name).symlink_to(tmp_path / "outside")
    refused(folder, "is a link that leads out of the bundle")


def test_a_link_to_a_link_that_leads_out_is_refused(folder, tmp_path):
    shutil.move(folder / bundles.CARD, tmp_path / "outside")
    (folder / "step").symlink_to(tmp_path / "outside")
    (folder / bundles.CARD).symlink_to("step")
    refused(folder, "is a link that leads out of the bundle")


def test_a_link_within_the_bundle_is_as_good_as_a_file(folder):
    shutil.move(folder / bundles.CARD, folder / "card")
    (folder / bundles.CARD).symlink_to("card")
    assert bundles.load(folder).read(bundles.CARD) == b"# A tiny recogniser\n"


def test_a_link_to_the_whole_bundle_loads(folder, tmp_path):
    (tmp_path / "link").symlink_to(folder)
    assert bundles.load(tmp_path / "link").task == "classify"


def test_a_link_kept_in_a_zip_is_only_bytes(folder, tmp_path):
    whole = members(folder)
    with zipfile.ZipFile(tmp_path / "a.fieldmark", "w") as archive:
        for name, data in whole.items():
            info = zipfile.ZipInfo(name)
            if name == bundles.CARD:
                info.external_attr = (stat.S_IFLNK | 0o777) << 16
                data = b"/etc/hostname"
            archive.writestr(info, data)
    refused(tmp_path / "a.fieldmark", "README.md was changed")


def test_a_zip_that_would_unpack_to_far_more_than_it_says_is_read_no_further(folder, tmp_path):
    whole = {**members(folder), bundles.CARD: b"\0" * 50_000_000}
    refused(zip_of(tmp_path / "a.fieldmark", whole), "README.md was changed")


def test_a_huge_member_is_digested_in_pieces(folder, tmp_path, monkeypatch):
    asked = []
    read = zipfile.ZipExtFile.read

    def watched(self, n=-1):
        asked.append(n)
        return read(self, n)

    size = 30_000_000
    list_file(folder, "big.bin", bytes=size, sha256=bundles.sha256(b"\0" * size))
    out = zip_of(tmp_path / "a.fieldmark", {**members(folder), "big.bin": b"\0" * size})
    monkeypatch.setattr(zipfile.ZipExtFile, "read", watched)
    bundles.load(out)
    assert min(asked) >= 0
    assert sorted(set(asked)) == [bundles.PIECE_BYTES, bundles.MAX_FACTS_BYTES + 1]


def test_facts_in_a_zip_that_unpack_to_gigabytes_are_cut_off(tmp_path, monkeypatch):
    monkeypatch.setattr(bundles, "MAX_FACTS_BYTES", 1_000_000)
    refused(zip_of(tmp_path / "a.fieldmark", {bundles.FACTS: b" " * 20_000_000}), "larger than 1 MB")


@pytest.mark.parametrize("data", [b"", b"hello", b"PK\x03\x04", b"PK\x05\x06" + b"\0" * 18])
def test_a_file_that_is_no_zip_is_refused(tmp_path, data):
    (tmp_path / "a.fieldmark").write_bytes(data)
    refused(tmp_path / "a.fieldmark", r"neither a folder with bundle\.json nor a valid|bundle\.json is missing")


def test_a_zip_with_a_password_is_refused(folder, tmp_path):
    out = zip_of(tmp_path / "a.fieldmark", members(folder))
    data = bytearray(out.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = data.find(mark)
        while place >= 0:
            data[place + offset] |= 1
            place = data.find(mark, place + 4)
    out.write_bytes(data)
    refused(out, "cannot be read")


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_zip_is_refused_or_still_whole(bundle, tmp_path, data):
    path = tmp_path / "a.fieldmark"
    path.unlink(missing_ok=True)
    small = {**tiny_facts(), "format": 1, "files": {"a.bin": {"bytes": 5, "sha256": bundles.sha256(b"hello")}}}
    small["checksum"] = bundles.checksum(small)
    compression = data.draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2]))
    zip_of(path, {bundles.FACTS: json.dumps(small).encode(), "a.bin": b"hello"}, compression)
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(raw)
    try:
        loaded = bundles.load(path)
    except BundleError:
        return
    assert loaded.read("a.bin") == b"hello"


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_facts_give_a_recogniser_or_a_sentence(folder, bundle, data):
    raw = bytearray((bundle.path / bundles.FACTS).read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    (folder / bundles.FACTS).write_bytes(raw)
    try:
        loaded = bundles.load(folder)
    except FieldmarkError as error:
        sentence = str(error)
        assert sentence
    else:  # the damage was in white space
        assert loaded.facts == bundle.facts


def test_an_edited_fact_is_noticed(folder):
    text = (folder / bundles.FACTS).read_text()
    facts = json.loads(text)
    (folder / bundles.FACTS).write_text(json.dumps(facts | {"classes": list(reversed(facts["classes"]))}))
    refused(folder, "bundle.json was changed or damaged")
    (folder / bundles.FACTS).write_text(json.dumps(facts, indent=7, sort_keys=True))
    assert bundles.load(folder).facts == facts


@pytest.mark.parametrize(
    "facts",
    [
        {"classes": 5},
        {"preprocess": {}},
        {"preprocess": 7},
        {"preprocess": {"size_wh": [16, 16], "fit": "sqash", "resample": "bilinear"}},
        {"preprocess": {"size_wh": [0, 16], "fit": "squash", "resample": "bilinear"}},
        {"preprocess": {"size_wh": [16], "fit": "squash", "resample": "bilinear"}},
        {"calibration": {"temperature": 0}},
        {"calibration": {"temperature": float("nan")}},
        {"calibration": []},
        {"thresholds": 3},
    ],
)
def test_facts_with_values_that_cannot_be_are_refused_when_used(folder, facts):
    loaded = bundles.load(change(folder, **facts))
    with pytest.raises(BundleError, match="holds a value that is not valid"):
        Recogniser(loaded)


def test_a_full_disk_while_a_zip_is_written_is_a_users_mistake(bundle, tmp_path, monkeypatch):
    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "writestr", full)
    with pytest.raises(UsageError, match="No space left"):
        bundles.write_zip(bundle, tmp_path / "a.fieldmark")
    assert list(tmp_path.iterdir()) == []
