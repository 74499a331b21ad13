import errno
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldmark import files
from fieldmark.errors import UsageError


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 kB."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = sys.platform == "linux" and os.geteuid() == 0
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], check=False) if mounted else None
    if done is None or done.returncode:
        pytest.skip("mounting needs root on Linux")
    yield place
    subprocess.run(["umount", place], check=True)


def leftovers(folder: Path) -> list[Path]:
    return [p for p in folder.rglob("*") if files.PARTIAL in p.name]


def interrupted(path: Path, error: type[BaseException]) -> None:
    """Writes and then raises, as a block that is stopped half way."""
    path.parent.mkdir(exist_ok=True)
    path.write_text("new")
    raise error


def test_a_file_appears_with_its_whole_content(tmp_path):
    files.write_text(tmp_path / "new" / "a.txt", "größe\n")
    assert (tmp_path / "new" / "a.txt").read_bytes() == "größe\n".encode()
    assert not leftovers(tmp_path)


def test_a_block_that_raises_leaves_the_old_file_and_no_partial_one(tmp_path):
    place = tmp_path / "a.txt"
    place.write_text("old")
    with pytest.raises(ZeroDivisionError), files.atomic_file(place) as partial:
        interrupted(partial, ZeroDivisionError)
    assert place.read_text() == "old"
    assert not leftovers(tmp_path)


def test_nothing_is_seen_at_the_place_before_the_block_ends(tmp_path):
    with files.atomic_file(tmp_path / "a.txt") as partial:
        partial.write_text("new")
        assert not (tmp_path / "a.txt").exists()
    assert (tmp_path / "a.txt").read_text() == "new"


def test_an_interrupted_block_leaves_no_partial_folder(tmp_path):
    with pytest.raises(KeyboardInterrupt), files.atomic_folder(tmp_path / "run") as partial:
        interrupted(partial / "deep" / "x", KeyboardInterrupt)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_appears_filled(tmp_path):
    with files.atomic_folder(tmp_path / "run") as partial:
        (partial / "x").write_text("x")
    assert (tmp_path / "run" / "x").read_text() == "x"
    assert not leftovers(tmp_path)


def test_a_folder_that_holds_something_is_not_replaced(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine").write_text("mine")
    with pytest.raises(UsageError, match="cannot write"), files.atomic_folder(tmp_path / "run") as partial:
        (partial / "x").write_text("x")
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["mine"]
    assert not leftovers(tmp_path)


def test_written_files_follow_the_umask_as_other_files_do(tmp_path):
    before = os.umask(0o027)
    try:
        files.write_text(tmp_path / "a.txt", "a")
        with files.atomic_folder(tmp_path / "run"):
            pass
    finally:
        os.umask(before)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "run").stat().st_mode & 0o777 == 0o750


def test_a_file_where_a_folder_should_be_is_a_users_mistake(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="choose another place"):
        files.write_text(tmp_path / "file" / "a.txt", "a")


def test_a_folder_where_the_file_should_be_is_a_users_mistake(tmp_path):
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(UsageError, match="cannot write"):
        files.write_text(tmp_path / "a.txt", "a")
    assert not leftovers(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_a_place_nobody_may_write_is_a_users_mistake():
    with pytest.raises(UsageError, match=r"cannot write /proc/fieldmark/a\.txt"):
        files.write_text(Path("/proc/fieldmark/a.txt"), "a")


def test_a_full_disk_is_a_users_mistake_and_keeps_the_old_file(small_disk):
    place = small_disk / "a.txt"
    files.write_text(place, "old")
    with pytest.raises(UsageError, match="No space left on device; free some room"):
        files.write_text(place, "x" * 200_000)
    assert place.read_text() == "old"
    assert not leftovers(small_disk)


def test_a_full_disk_that_only_the_system_call_tells_of_is_a_users_mistake(tmp_path):
    with pytest.raises(UsageError, match="No space left"), files.atomic_file(tmp_path / "a"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_an_error_of_reading_something_else_stays_what_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError), files.atomic_file(Path("out.txt")):
        Path("in.txt").read_text()
    with pytest.raises(FileNotFoundError), files.atomic_file(tmp_path / "out.txt"):
        (tmp_path / "in.txt").read_text()


def test_an_os_error_without_a_number_stays_what_it_is(tmp_path):
    with pytest.raises(OSError, match="broken data stream"), files.atomic_file(tmp_path / "a"):
        raise OSError("broken data stream")


def test_names_of_many_bytes_can_be_written(tmp_path):
    name = "鳥" * 80 + ".txt"
    files.write_text(tmp_path / name, "x")
    assert (tmp_path / name).read_text() == "x"


def test_a_name_too_long_is_a_users_mistake(tmp_path):
    with pytest.raises(UsageError, match="too long"):
        files.write_text(tmp_path / ("x" * 300), "x")


def test_json_keeps_the_order_of_keys_and_any_script(tmp_path):
    files.write_json(tmp_path / "a.json", {"z": 1, "a": "鳥"})
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert text.index("z") < text.index("鳥")
    assert json.loads(text) == {"z": 1, "a": "鳥"}


def test_json_keeps_a_file_name_that_is_no_utf_8(tmp_path):
    name = os.fsdecode(b"bird\xff.jpg")
    files.write_json(tmp_path / "a.json", {"path": name})
    assert json.loads((tmp_path / "a.json").read_bytes()) == {"path": name}


@given(data=st.binary(max_size=100))
def test_digests_are_sha_256(data):
    assert files.sha256(data) == hashlib.sha256(data).hexdigest()


def test_the_digest_of_a_file_is_that_of_its_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * 3_000_000)
    assert files.sha256_file(tmp_path / "a") == files.sha256(b"x" * 3_000_000)


def test_the_cache_is_where_the_variable_says(monkeypatch, tmp_path):
    monkeypatch.setenv("FIELDMARK_CACHE", str(tmp_path / "here"))
    assert files.cache_folder() == tmp_path / "here"
    assert not (tmp_path / "here").exists()


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {"XDG_CACHE_HOME": "/x"}, Path("/x/fieldmark")),
        ("linux", {}, Path("/home/me/.cache/fieldmark")),
        ("darwin", {}, Path("/home/me/Library/Caches/fieldmark")),
        ("win32", {"LOCALAPPDATA": "/local"}, Path("/local/fieldmark")),
    ],
)
def test_the_cache_is_in_the_users_cache_folder_otherwise(monkeypatch, platform, variables, expected):
    for name in ("FIELDMARK_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(files.sys, "platform", platform)
    monkeypatch.setattr(Path, "home", lambda: Path("/home/me"))
    assert files.cache_folder() == expected


@pytest.fixture
def cache(tmp_path):
    """Five shards' files of 100 bytes, named by one letter 32 times; e is the oldest, a the newest."""
    for age, name in enumerate("abcde"):
        path = tmp_path / "cache" / ("12"[age % 2] * 32) / f"{name * 32}{('.npy', '.key')[age % 2]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 100)
        os.utime(path, (1e9 - age, 1e9 - age))
    return tmp_path / "cache"


@pytest.mark.parametrize(("limit", "kept"), [(500, "abcde"), (499, "abcd"), (300, "abc"), (250, "ab"), (0, "")])
def test_the_cache_loses_its_oldest_files_first_and_no_more_than_needed(cache, limit, kept):
    assert files.trim_cache(cache, limit) == 500 - 100 * len(kept)
    assert sorted(p.name[0] for p in cache.rglob("*") if p.is_file()) == list(kept)


def test_a_cache_that_is_not_there_needs_no_trimming(tmp_path):
    assert files.trim_cache(tmp_path / "none", 0) == 0


FOREIGN = (
    "notes.txt",
    "photos/a.jpg",
    f"{'1' * 32}/notes.txt",
    f"{'1' * 32}/deep/{'f' * 32}.npy",
    f"{'1' * 32}/{'f' * 32}.npz",
    f"{'1' * 32}/{'f' * 31}.npy",
    f"{'1' * 32}/.{'f' * 32}.npy.partial",
    f"mine/{'f' * 32}.npy",
    f"{'f' * 32}.npy",
)


def test_trimming_deletes_and_counts_only_what_fieldmark_wrote(cache):
    for name in FOREIGN:
        path = cache / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 10_000)
        os.utime(path, (1, 1))
    assert files.trim_cache(cache, 500) == 0
    assert files.trim_cache(cache, 0) == 500
    assert all((cache / name).exists() for name in FOREIGN)


def test_trimming_follows_no_link(cache, tmp_path):
    outside = tmp_path / ("3" * 32)
    outside.mkdir()
    (outside / f"{'f' * 32}.npy").write_bytes(b"x" * 10_000)
    (cache / outside.name).symlink_to(outside)
    (cache / ("1" * 32) / f"{'f' * 32}.npy").symlink_to(outside / f"{'f' * 32}.npy")
    assert files.trim_cache(cache, 0) == 500
    assert (outside / f"{'f' * 32}.npy").exists()
    assert (cache / ("1" * 32) / f"{'f' * 32}.npy").is_symlink()


def test_trimming_deletes_what_a_killed_run_left_of_a_shard(cache):
    with files.atomic_file(cache / ("1" * 32) / f"{'f' * 32}.npy") as partial:
        left = partial.with_name(partial.name + "z")
    left.write_bytes(b"x" * 100)
    (cache / ("1" * 32) / f"{'f' * 32}.npy").unlink()
    assert files.trim_cache(cache, 0) == 600
    assert not left.exists()


def test_a_file_another_process_deleted_meanwhile_does_not_stop_trimming(cache, monkeypatch):
    unlink = Path.unlink

    def gone(self: Path, missing_ok: bool = False) -> None:
        if self.name[0] == "e":
            raise FileNotFoundError(self)
        unlink(self, missing_ok)

    monkeypatch.setattr(Path, "unlink", gone)
    assert files.trim_cache(cache, 400) == 100
    assert sorted(p.name[0] for p in cache.rglob("*") if p.is_file()) == list("abce")


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b", "missing"])
def test_what_the_system_cannot_name_is_no_file_and_no_folder(tmp_path, name):
    assert not files.is_file(tmp_path / name)
    assert not files.is_folder(tmp_path / name)
