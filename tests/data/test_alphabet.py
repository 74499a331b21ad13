"""Text as codes and back: whatever the script."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldmark.data.alphabet import BYTES, Alphabet, begins_character

SOME = "äéß愛読書אב🦜"
characters = st.characters(exclude_categories=["Cs"])


@settings(deadline=None)
@given(st.text(characters), st.sets(characters.filter(lambda c: ord(c) > 127)))
def test_every_text_comes_back_whatever_the_alphabet(text, own):
    alphabet = Alphabet("".join(sorted(own)))
    codes = alphabet.encode(text)
    assert codes.dtype == alphabet.dtype
    assert alphabet.decode(codes) == text
    assert int(begins_character(codes).sum()) == len(text)


def test_ascii_is_its_own_code_and_frequent_characters_have_one_code_each():
    alphabet = Alphabet("é愛")
    assert alphabet.size == BYTES + 2
    assert alphabet.encode("aé愛z").tolist() == [97, 256, 257, 122]
    assert alphabet.encode("書").tolist() == list("書".encode())
    assert alphabet.encode("é書").tolist() == [256, *"書".encode()]
    assert Alphabet().encode("hello").dtype == np.uint8


def test_bytes_of_a_file_name_that_is_no_utf8_pass_and_odd_codes_decode_to_something():
    assert len(Alphabet().encode("a\udc80b")) == 5
    assert Alphabet().decode([0xE6, 65]) == "\ufffdA"


@pytest.mark.parametrize("wrong", ["aé", "éé", "\ud800"])
def test_an_alphabet_within_ascii_or_with_repeats_is_refused(wrong):
    with pytest.raises(ValueError, match="beyond ASCII"):
        Alphabet(wrong)


def test_all_of_some_scripts_are_one_code_each():
    alphabet = Alphabet("".join(sorted(SOME)))
    assert len(alphabet.encode(SOME)) == len(SOME)
    assert alphabet.bytes_of[alphabet.encode("🦜")[0]] == "🦜".encode()
