"""Archives from elsewhere: what they hold comes out, whatever they try."""

import contextlib
import io
import os
import stat
import tarfile
import zipfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldmark.data.sources.named import unpack as unpacking
from fieldmark.data.sources.named.unpack import check, unpack
from fieldmark.errors import DataError, UsageError

ROOM = 1 << 20


def tar(path: Path, files: dict[str, bytes], mode: str = "w", **members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, mode) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for member in members.values():
            archive.addfile(member)
    return path


def member(name: str, kind: bytes, target: str = "", size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, target, size
    return info


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def held(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def out(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


FILES = {"a/b/one.jpg": b"one", "a/two.jpg": b"2" * 3_000, "list.txt": b"", ".hidden": b"h"}


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_tar_of_any_compression_comes_out(tmp_path, out, mode):
    told = []
    archive = tar(tmp_path / "x.tar", FILES, mode, folder=member("empty", tarfile.DIRTYPE))
    unpack(archive, out, lambda *step: told.append(step), most_bytes=ROOM)
    assert held(out) == FILES
    assert told[-1][0] == "unpacking x.tar (MB)"
    assert archive.is_file()


def test_a_zip_comes_out(tmp_path, out):
    unpack(zipped(tmp_path / "x.zip", FILES), out, most_bytes=ROOM)
    assert held(out) == FILES


def test_a_tar_that_ends_with_a_zip_is_a_tar(tmp_path, out):
    inner = zipped(tmp_path / "x.zip", {"inner": b"i"}).read_bytes()
    unpack(tar(tmp_path / "x.tar", {"a": b"a", "b.zip": inner}), out, most_bytes=ROOM)
    assert held(out) == {"a": b"a", "b.zip": inner}


def test_the_folder_itself_may_be_a_member(tmp_path, out):
    archive = tar(tmp_path / "x.tar", {"./a.txt": b"a"}, here=member("./", tarfile.DIRTYPE))
    unpack(archive, out, most_bytes=ROOM)
    assert held(out) == {"a.txt": b"a"}


def test_a_file_without_a_name_is_passed_by(tmp_path, out):
    unpack(tar(tmp_path / "x.tar", {"": b"?", ".": b"?", "a": b"a"}), out, most_bytes=ROOM)
    assert held(out) == {"a": b"a"}


def test_what_is_there_already_is_joined(tmp_path, out):
    (out / "a").mkdir()
    (out / "a" / "mine.txt").write_text("mine")
    (out / "a" / "two.jpg").write_text("old")
    unpack(tar(tmp_path / "x.tar", FILES), out, most_bytes=ROOM)
    assert held(out) == {**FILES, "a/mine.txt": b"mine"}


@pytest.mark.parametrize(
    "name", ["../x", "a/../../x", "/tmp/fieldmark-out", "..", "a/..", "..\\x", "C:\\x", "C:x", "//server/share/x"]
)
@pytest.mark.parametrize("make", [tar, zipped])
def test_a_path_that_leaves_the_folder_refuses_the_whole_archive(tmp_path, out, name, make):
    before = set(tmp_path.rglob("*"))
    archive = make(tmp_path / "x", {"good": b"good", name: b"bad"})
    with pytest.raises(DataError, match="leaves its folder"):
        unpack(archive, out, most_bytes=ROOM)
    assert set(tmp_path.rglob("*")) - before == {archive}
    assert not Path("/tmp/fieldmark-out").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_not_made_and_nothing_is_written_through_them(tmp_path, out, kind):
    (tmp_path / "elsewhere").mkdir()
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        archive.addfile(member("way", kind, "../elsewhere"))
        info = tarfile.TarInfo("way/in.txt")
        info.size = 2
        archive.addfile(info, io.BytesIO(b"in"))
    unpack(tmp_path / "x.tar", out, most_bytes=ROOM)
    assert held(out) == {"way/in.txt": b"in"}
    assert not any((tmp_path / "elsewhere").iterdir())


def test_links_in_a_zip_are_not_made(tmp_path, out):
    info = zipfile.ZipInfo("link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(info, "/etc/hostname")
        archive.writestr("good", b"good")
    unpack(tmp_path / "x.zip", out, most_bytes=ROOM)
    assert held(out) == {"good": b"good"}


def test_a_link_to_a_bad_place_is_refused_by_its_name(tmp_path, out):
    archive = tar(tmp_path / "x.tar", {}, link=member("../link", tarfile.SYMTYPE, "x"))
    with pytest.raises(DataError, match="leaves its folder"):
        unpack(archive, out, most_bytes=ROOM)


def test_more_bytes_than_allowed_are_refused_before_they_are_written(tmp_path, out):
    for archive in (
        tar(tmp_path / "x.tar.gz", {"a": bytes(700_000), "b": bytes(700_000)}, "w:gz"),
        zipped(tmp_path / "x.zip", {"a": bytes(700_000), "b": bytes(700_000)}),
    ):
        with pytest.raises(DataError, match="holds more than"):
            unpack(archive, out, most_bytes=ROOM)
        assert not list(out.iterdir())


def test_a_huge_declared_size_is_refused(tmp_path, out):
    with (tmp_path / "x.tar").open("wb") as stream:
        stream.write(member("big", tarfile.REGTYPE, size=2**50).tobuf(tarfile.GNU_FORMAT))
        stream.write(bytes(2048))
    with pytest.raises(DataError, match="holds more than"):
        unpack(tmp_path / "x.tar", out, most_bytes=ROOM)
    assert not list(out.iterdir())


def test_more_members_than_allowed_are_refused(tmp_path, out, monkeypatch):
    monkeypatch.setattr(unpacking, "MAX_FILES", 10)
    unpack(tar(tmp_path / "a.tar", {f"{i}": b"" for i in range(10)}), out, most_bytes=ROOM)
    folders = {f"f{i}": member(f"{i}", tarfile.DIRTYPE) for i in range(11)}
    for archive in (tar(tmp_path / "b.tar", {f"{i}": b"" for i in range(11)}), tar(tmp_path / "c.tar", {}, **folders)):
        with pytest.raises(DataError, match="holds more than 10 files"):
            unpack(archive, out, most_bytes=ROOM)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_truncated_or_damaged_tar_is_refused_and_leaves_nothing(tmp_path, out, mode):
    data = b"".join(zlib.crc32(bytes([i % 256])).to_bytes(4, "big") for i in range(20_000))
    whole = tar(tmp_path / "x", {"a": data, "b": data}, mode).read_bytes()
    damaged = [whole[: len(whole) // 3], whole[: len(whole) // 2], b"no archive at all", b""]
    if mode != "w":  # a plain tar has no sums over its files
        damaged.append(whole[: len(whole) // 2] + b"\xff" * 50 + whole[len(whole) // 2 + 50 :])
        damaged.append(whole[:-6] + bytes([whole[-6] ^ 1]) + whole[-5:])
    for part in damaged:
        (tmp_path / "x").write_bytes(part)
        with pytest.raises(DataError, match=r"is damaged|cannot be read"):
            unpack(tmp_path / "x", out, most_bytes=ROOM)
        assert not list(out.iterdir())


def test_a_tar_that_turns_into_something_else_is_refused(tmp_path, out):
    whole = bytearray(tar(tmp_path / "x", {"a": b"a", "b": b"b"}).read_bytes())
    whole[1024 : 1024 + 512] = b"\x01" * 512  # where the header of b was
    (tmp_path / "x").write_bytes(whole)
    with pytest.raises(DataError, match="is damaged"):
        unpack(tmp_path / "x", out, most_bytes=ROOM)
    assert not list(out.iterdir())


def test_a_damaged_or_encrypted_zip_is_refused(tmp_path, out):
    whole = zipped(tmp_path / "x.zip", {"a": b"abc" * 1000}).read_bytes()
    flags = whole.index(b"PK\1\2") + 8
    for part in (
        whole[:60] + b"\0" + whole[61:],
        whole[: len(whole) // 2],
        whole[:flags] + b"\1" + whole[flags + 1 :],
    ):
        (tmp_path / "x.zip").write_bytes(part)
        with pytest.raises(DataError, match=r"is damaged|cannot be read"):
            unpack(tmp_path / "x.zip", out, most_bytes=ROOM)
        assert not list(out.iterdir())


def test_a_file_where_a_folder_must_be_is_said(tmp_path, out):
    with pytest.raises((DataError, UsageError), match=r"x\.tar"):
        unpack(tar(tmp_path / "x.tar", {"a": b"file", "a/b": b"in it"}), out, most_bytes=ROOM)
    assert not list(out.iterdir())


def test_leftovers_of_a_killed_unpacking_are_removed_after_a_day(tmp_path, out):
    archive = tar(tmp_path / "x.tar", FILES)
    old, new = out / ".x.tar.partial-old", out / ".x.tar.partial-new"
    for left in (old, new):
        left.mkdir()
    os.utime(old, (0, 0))
    unpack(archive, out, most_bytes=ROOM)
    assert not old.exists()
    assert new.exists()


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_bring_anything_but_a_sentence(tmp_path_factory, data):
    root = tmp_path_factory.mktemp("any")
    (root / "out").mkdir()
    (root / "x").write_bytes(data)
    with contextlib.suppress(DataError):
        unpack(root / "x", root / "out", most_bytes=ROOM)
    assert {p.name for p in root.iterdir()} == {"x", "out"}


def test_checksums_are_compared(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    check(tmp_path / "x", "md5:900150983cd24fb0d6963f7d28e17f72")
    check(tmp_path / "x", "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    check(tmp_path / "x", "")
    with pytest.raises(DataError, match="is not the file that was published"):
        check(tmp_path / "x", "md5:" + "0" * 32)
