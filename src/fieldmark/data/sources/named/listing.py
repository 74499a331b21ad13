"""What `fieldmark data` says: the table of data sets, one of them in full, a download."""

from typing import Any

from fieldmark.errors import UsageError
from fieldmark.printing import count

from .facts import DataSet, data_set, data_sets
from .place import Progress, by_hand, folders, missing, present

FIELD_GUIDE = "field-guide"


def tell(name: str | None = None, fetched: Progress | None = None) -> tuple[list[dict[str, Any]], str]:
    """The rows of all sets or of `name`, and the same in words; with `fetched`, its files are got first.

    Raises UsageError for a download without a name, and what the download raises.
    """
    chosen = [data_set(name)] if name else list(data_sets().values())
    if fetched is not None:
        if name is None:
            raise UsageError("say which data set to get, such as: fieldmark data oxford-pets --download")
        from .download import download

        if chosen[0].name != FIELD_GUIDE:
            download(chosen[0], fetched)
    rows = [row(facts) for facts in chosen]
    return rows, _in_full(chosen[0], rows[0]) if name else "\n".join(map(_line, rows))


def row(facts: DataSet) -> dict[str, Any]:
    """The facts of a set as `data --json` prints them; `present`: whether all of it is there, in `folder`."""
    there = present(facts)
    return {
        "name": facts.name,
        "title": facts.title,
        "task": facts.task,
        "classes": facts.classes,
        "pictures": facts.pictures,
        "bytes": facts.bytes,
        "licence": facts.licence,
        "home": facts.home,
        "get": way(facts),
        "boxes": facts.boxes,
        "variants": list(facts.variants),
        "present": there is not None,
        "folder": str(there or folders(facts)[0]),
    }


def way(facts: DataSet) -> str:
    """How to get a set: "download", "by hand", or what makes it be there."""
    if facts.downloadable:
        return "download"
    return facts.how if facts.module or facts.name == FIELD_GUIDE else "by hand"


def size(n_bytes: int) -> str:
    """Bytes for people: "11.6 MB"."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= factor:
            return f"{n_bytes / factor:.3g} {unit}"
    return f"{n_bytes} bytes" if n_bytes else "-"


def _line(row: dict[str, Any]) -> str:
    there = "there" if row["present"] else row["get"]
    return (
        f"{row['name']:14} {row['pictures']:>9,} pictures {row['classes']:>5,} classes  {size(row['bytes']):>8}  "
        f"{there:28} {row['title']}; licence: {row['licence']}"
    )


def _in_full(facts: DataSet, row: dict[str, Any]) -> str:
    place = folders(facts)[0]
    gone = missing(facts, place)
    lines = [
        facts.title,
        f"{count(facts.pictures, 'picture')}, {facts.classes:,} classes, task {facts.task}",
        f"size     {size(facts.bytes)}",
        f"licence  {facts.licence}",
        f"home     {facts.home or '-'}",
        f"folder   {row['folder']}",
    ]
    if facts.variants:
        lines.append(f"also     {', '.join(facts.variants)}")
    if row["present"]:
        return "\n".join([*lines, "it is there"])
    lines.append(f"missing  {', '.join(gone)}")
    if facts.downloadable:
        lines.append(f"get it   fieldmark data {facts.name} --download")
    lines.append(f"or       {by_hand(facts, place)}" if not facts.module else f"get it   {facts.how}")
    return "\n".join(lines)
