import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldmark.data.sources.xml import MAX_DEPTH, Element, read_xml
from fieldmark.errors import PictureError

LAUGHS = b"""<?xml version="1.0"?>
<!DOCTYPE a [
 <!ENTITY a0 "ha">
%s
]>
<annotation><object><name>&a9;</name></object></annotation>
""" % b"\n".join(b' <!ENTITY a%d "%s">' % (i, b"&a%d;" % (i - 1) * 10) for i in range(1, 10))


def test_elements_come_flat_with_their_lines_and_texts():
    found = read_xml(b"<r>\n <a>\n  <b> x\ny </b>\n </a>\n <a/>\n</r>")
    assert found == [Element("a", 2, ""), Element("a/b", 3, "x\ny"), Element("a", 6, "")]


@pytest.mark.parametrize(
    "data",
    [
        LAUGHS,
        b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a><b>&x;</b></a>',
        b'<!DOCTYPE a [<!ENTITY % x "y">]><a/>',
    ],
)
def test_declared_entities_are_refused_before_they_are_expanded(data):
    with pytest.raises(PictureError, match="it declares entities, which are not read"):
        read_xml(data)


def test_a_document_type_alone_and_the_standard_entities_are_read():
    assert read_xml(b"<!DOCTYPE annotation><a><b>&lt;&amp;&#65;</b></a>") == [Element("b", 1, "<&A")]


def test_nesting_is_bounded():
    depth = MAX_DEPTH + 1
    with pytest.raises(PictureError, match="nested more than 32 deep"):
        read_xml(b"<a>" * depth + b"</a>" * depth)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x",
        b"<a>",
        b"<a></b>",
        b"<a>&nothing;</a>",
        b"<a/><b/>",
        b"\xff\xfe<",
        b'<?xml version="1.0" encoding="no"?><a/>',
    ],
)
def test_what_is_no_xml_is_one_sentence(data):
    with pytest.raises(PictureError, match="no XML"):
        read_xml(data)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-1"])
def test_texts_of_other_encodings_are_read(encoding):
    text = f'<?xml version="1.0" encoding="{encoding}"?><a><b>é</b></a>'
    assert read_xml(text.encode(encoding)) == [Element("b", 1, "é")]


@settings(deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda t: f"<a>{t}</a>".encode("utf-8", "replace")))
def test_no_bytes_raise_anything_else(data):
    try:
        assert isinstance(read_xml(data), list)
    except PictureError as error:
        assert "\n" not in str(error)  # noqa: PT017
