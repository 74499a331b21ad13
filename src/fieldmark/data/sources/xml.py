"""XML as a flat list of elements, without entities, bounded in size and depth."""

from typing import NamedTuple
from xml.parsers import expat

from fieldmark.errors import PictureError, short

MAX_DEPTH = 32


class Element(NamedTuple):
    """An element: its path below the root ("object/name"), the line where it begins, its own text."""

    path: str
    line: int
    text: str


def read_xml(data: bytes, root: str | None = None) -> list[Element]:
    """The elements below the root, in the order in which they begin; PictureError when it is no plain XML, or when the
    root has another name than `root`.

    Declared entities are refused before they are expanded (a few lines can stand for gigabytes).
    """
    parser = expat.ParserCreate()
    found: list[tuple[str, int, list[str]]] = []
    open_now: list[int] = []

    def begin(tag: str, attributes: dict[str, str]) -> None:
        if len(open_now) >= MAX_DEPTH:
            raise PictureError(f"elements are nested more than {MAX_DEPTH} deep")
        if root is not None and not found and tag != root:
            raise PictureError(f"its root is <{short(tag)}>, not <{root}>")
        parent = found[open_now[-1]][0] if open_now else ""
        path = f"{parent}/{tag}" if len(open_now) > 1 else tag if open_now else ""
        open_now.append(len(found))
        found.append((path, parser.CurrentLineNumber, []))

    def refuse(*declaration: object) -> None:
        raise PictureError("it declares entities, which are not read")

    parser.StartElementHandler = begin
    parser.EndElementHandler = lambda tag: open_now.pop()
    parser.CharacterDataHandler = lambda text: found[open_now[-1]][2].append(text)
    parser.EntityDeclHandler = refuse
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, ValueError, LookupError) as error:  # the last two: an encoding that expat does not know
        raise PictureError(f"no XML ({error})") from None
    return [Element(path, line, "".join(text).strip()) for path, line, text in found[1:]]
