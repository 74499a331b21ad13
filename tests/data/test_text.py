"""Text files: read in pieces, encoded on disk, and what is refused."""

import numpy as np
import pytest

from fieldmark.data import text as texts
from fieldmark.data.alphabet import Alphabet
from fieldmark.data.text import encode_text, make_alphabet, open_text
from fieldmark.errors import DataError, UsageError

LONG = "Das Käuzchen ruft; 愛鳥。\n" * 100


@pytest.fixture
def small_pieces(monkeypatch):
    monkeypatch.setattr(texts, "PIECE", 7)


def nothing(done, total):
    pass


def test_a_file_is_one_text_without_mark_and_with_plain_line_ends(tmp_path, small_pieces):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbf" + LONG.replace("\n", "\r\n").encode())
    text = open_text(tmp_path / "a.txt")
    assert "".join(text.pieces()) == LONG
    assert text.characters == len(LONG)


def test_a_folder_is_its_text_files_by_name_and_lists_what_is_none(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "two.md").write_text(LONG, encoding="utf-8")
    (tmp_path / "a.txt").write_text(LONG, encoding="utf-8")
    (tmp_path / "c.txt").write_bytes(b"\xff\xfe\xfa")
    (tmp_path / "picture.png").write_bytes(b"x")
    (tmp_path / ".hidden.txt").write_text("no")
    text = open_text(tmp_path)
    assert [p.name for p in text.files] == ["a.txt", "two.md"]
    assert "".join(text.pieces()) == f"{LONG}\n{LONG}"
    assert [s.name for s in text.skipped] == ["c.txt"]
    assert "save it as UTF-8" in text.skipped[0].reason


def test_the_fingerprint_tells_contents_apart(tmp_path):
    found = []
    for content in (LONG, LONG, LONG + "x"):
        (tmp_path / "a.txt").write_text(content, encoding="utf-8")
        found.append(open_text(tmp_path / "a.txt").fingerprint)
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "holds 0 characters"),
        (b"x", "holds 1 character;"),
        (bytes(range(256)) * 10, "zero bytes|no UTF-8"),
        (b"\x80" * 5000, "no UTF-8 text"),
        ("überall\n".encode("utf-16") * 300, "no UTF-8 text|zero bytes"),
    ],
)
def test_a_file_that_cannot_be_learned_from_is_one_sentence(tmp_path, content, says):
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(DataError, match=says):
        open_text(tmp_path / "a.txt")


def test_places_that_hold_no_text_are_one_sentence(tmp_path, monkeypatch):
    with pytest.raises(DataError, match="no such file"):
        open_text(tmp_path / "none.txt")
    with pytest.raises(DataError, match="holds no text files"):
        open_text(tmp_path)
    (tmp_path / "a.txt").write_bytes(b"\xff")
    (tmp_path / "b.txt").write_bytes(b"\xff")
    with pytest.raises(DataError, match=r"no UTF-8 text; save its files"):
        open_text(tmp_path)
    monkeypatch.setattr(texts, "MOST_BYTES", 1)
    with pytest.raises(DataError, match="give at most"):
        open_text(tmp_path)


def test_codes_are_those_of_the_whole_text_and_cuts_fall_between_characters(tmp_path, small_pieces):
    (tmp_path / "a.txt").write_text(LONG, encoding="utf-8")
    text, alphabet = open_text(tmp_path / "a.txt"), Alphabet("ä")
    cuts = [0, 5, 6, 13, len(LONG) - 3, len(LONG)]
    codes, places = encode_text(text, alphabet, cuts, nothing)
    assert isinstance(codes, np.memmap)
    assert codes.tolist() == alphabet.encode(LONG).tolist()
    assert [alphabet.decode(codes[:place]) for place in places] == [LONG[:cut] for cut in cuts]


def test_the_alphabet_counts_the_training_part_alone(tmp_path, small_pieces):
    content = "é" * 600 + "è" * 3 + "ü" * 600
    (tmp_path / "a.txt").write_text(content, encoding="utf-8")
    text = open_text(tmp_path / "a.txt")
    assert make_alphabet(text, 603, 5).characters == "é"
    assert make_alphabet(text, 603, 3).characters == "èé"
    assert make_alphabet(text, len(content), 5, most=1).characters in ("é", "ü")


def test_a_text_that_changes_meanwhile_and_a_cache_that_cannot_be_written_are_said(tmp_path, monkeypatch):
    place = tmp_path / "a.txt"
    place.write_text(LONG, encoding="utf-8")
    text = open_text(place)
    place.write_text(LONG + "more", encoding="utf-8")
    with pytest.raises(DataError, match="changed while it was read"):
        encode_text(text, Alphabet(), [], nothing)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FIELDMARK_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(UsageError, match="FIELDMARK_CACHE"):
        encode_text(text, Alphabet(), [], nothing)


def test_an_empty_file_in_a_folder_is_left_out_and_listed(tmp_path):
    (tmp_path / "a.txt").write_text("The wren sings. " * 100, encoding="utf-8")
    (tmp_path / "b.txt").write_text("", encoding="utf-8")
    found = open_text(tmp_path)
    assert [(s.name, s.reason) for s in found.skipped] == [("b.txt", "is empty")]
    assert found.characters == 1600
