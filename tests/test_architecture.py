"""Decisions of the design that a later change must not undo unnoticed."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import fieldmark

SRC = Path(fieldmark.__file__).parent
FILES = sorted(SRC.rglob("*.py"))
NAMES = [p.relative_to(SRC).as_posix() for p in FILES]
GROUND = ["errors", "types", "files", "geometry", "pictures", "progress", "printing", "data", "bundle"]
FIELD = ["evaluate", "tasks", "runtime", "explain", "search", "feedback", "audit", "report", "serve"]
WORKSHOP = ["recipe", "models", "learn", "export", "train", "demo", "lifelong", "scale"]
DOORS = ["__init__", "__main__", "cli", "cli_lists", "cli_sequence"]  # they lead into every room, on first use
FLOORS = {"ground": GROUND, "field": FIELD, "workshop": WORKSHOP}
MAY_USE = {"ground": {"ground"}, "field": {"ground", "field"}, "workshop": {"ground", "field", "workshop"}}
ONLY_IN_WORKSHOP = {"torch", "torchvision", "timm", "onnxscript", "torchrun", "ray"}
LOADS_PICKLES = {"pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path) -> Iterator[tuple[ast.stmt, str]]:
    """Every import of a file as the absolute name it brings in; what only type checkers see is left out."""
    package = ["fieldmark", *path.relative_to(SRC).parent.parts]
    for node in ast.walk(without_typing(tree(path))):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((node, f"{module}.{alias.name}") for alias in node.names)


def without_typing(module: ast.Module) -> ast.Module:
    for node in ast.walk(module):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = [ast.Pass()]
    return module


def room(dotted: str) -> tuple[str, str] | None:
    """Floor and room of a `fieldmark...` name; None for the package itself and for what others made."""
    parts = dotted.split(".")
    if parts[0] != "fieldmark" or len(parts) < 2 or parts[1] in DOORS:
        return None
    if parts[1] in ("field", "workshop"):
        return parts[1], (parts[2] if len(parts) > 2 else "")
    return ("ground", parts[1]) if parts[1] in GROUND or (SRC / parts[1]).exists() else None


def home(path: Path) -> tuple[str, str] | None:
    return room(".".join(["fieldmark", *path.relative_to(SRC).with_suffix("").parts]))


INSIDE = [p for p in FILES if home(p) is not None and home(p)[1] != "__init__"]


@pytest.mark.parametrize("path", INSIDE, ids=lambda p: p.relative_to(SRC).as_posix())
def test_imports_go_down_the_floors_and_up_the_list_of_rooms(path):
    floor, own = home(path)
    rooms = FLOORS[floor]
    assert own in rooms, f"the room {own} is not on the list of {floor}"
    for node, name in imports(path):
        target = room(name)
        if target is None:
            continue
        where = f"{path.name}:{node.lineno} imports {name}"
        assert target[0] in MAY_USE[floor], where
        if target[0] == floor and target[1] in rooms:
            assert rooms.index(target[1]) <= rooms.index(own), where


@pytest.mark.parametrize("path", INSIDE, ids=lambda p: p.relative_to(SRC).as_posix())
def test_no_room_imports_the_command_line(path):
    assert not [name for _, name in imports(path) if name.startswith(("fieldmark.cli", "fieldmark.__main__"))]


@pytest.mark.parametrize("name", ["cli.py", "cli_lists.py", "cli_sequence.py", "__main__.py"])
def test_the_command_line_imports_rooms_only_inside_its_functions(name):
    path = SRC / name
    functions = [n for n in ast.walk(tree(path)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    inside = {
        n.lineno for function in functions for n in ast.walk(function) if isinstance(n, ast.Import | ast.ImportFrom)
    }
    at_once = {found for node, found in imports(path) if node.lineno not in inside}
    doors = ("fieldmark.errors.", "fieldmark.cli_lists.", "fieldmark.cli_sequence.")
    assert {name for name in at_once if name.startswith("fieldmark.") and not name.startswith(doors)} <= {
        "fieldmark.__version__",
        "fieldmark.printing",
    }
    assert not {name.split(".")[0] for name in at_once} & (ONLY_IN_WORKSHOP | {"numpy", "PIL", "openvino", "sklearn"})


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_only_the_workshop_imports_torch_and_its_kin(path):
    if path.relative_to(SRC).parts[0] == "workshop":
        return
    found = [name for _, name in imports(path) if name.split(".")[0] in ONLY_IN_WORKSHOP]
    assert not found


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_no_file_is_longer_than_three_hundred_lines(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_there_are_no_star_imports(path):
    assert not [name for _, name in imports(path) if name.endswith(".*")]


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_nothing_is_unpickled(path):
    assert not [name for _, name in imports(path) if name.split(".")[0] in LOADS_PICKLES]
    for node in ast.walk(tree(path)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        called, given = ast.unparse(node.func), {k.arg: ast.unparse(k.value) for k in node.keywords}
        where = f"{path.name}:{node.lineno} {called}"
        if called == "torch.load":
            assert given.get("weights_only") == "True", where
        if called in ("np.load", "numpy.load"):
            assert given.get("allow_pickle", "False") == "False", where


def modules_after(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_importing_the_package_loads_neither_numpy_nor_engine_nor_torch():
    loaded = modules_after("import fieldmark; fieldmark.__version__; dir(fieldmark)")
    assert not loaded & {"numpy", "PIL", "openvino", "onnxruntime", "torch", "sklearn", "click"}


def test_the_ground_and_the_field_run_without_torch():
    rooms = [
        ".".join(["fieldmark", *p.relative_to(SRC).with_suffix("").parts]).removesuffix(".__init__")
        for p in FILES
        if p.relative_to(SRC).parts[0] != "workshop" and p.name != "__main__.py"
    ]
    loaded = modules_after("import " + ", ".join(rooms) + "\nfrom fieldmark import load, evaluate, explain, Prediction")
    assert not loaded & ONLY_IN_WORKSHOP


def test_help_loads_neither_numpy_nor_torch():
    loaded = modules_after(
        "import sys; sys.argv = ['fieldmark', '--help']\n"
        "from fieldmark.__main__ import main\n"
        "try: main()\nexcept SystemExit: pass"
    )
    assert not loaded & {"numpy", "PIL", "openvino", "torch", "sklearn"}


@pytest.mark.parametrize("name", fieldmark.__all__)
def test_every_public_name_loads(name):
    assert getattr(fieldmark, name) is not None


def test_public_names_are_listed_and_others_are_refused():
    assert dir(fieldmark) == sorted(fieldmark.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = fieldmark.nonsense
