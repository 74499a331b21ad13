"""What each command imports: heavy packages only where they are needed."""

import subprocess
import sys

import pytest

from .training import trained

WORKSHOP = {"torch", "torchvision", "timm", "onnx"}
HEAVY = WORKSHOP | {"openvino", "onnxruntime", "sklearn", "jinja2", "numpy", "PIL", "rich", "pyarrow", "scipy"}
CODE = """
import sys
sys.argv = ["fieldmark", *sys.argv[1:]]
from fieldmark.__main__ import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print("LOADED", *sorted({name.partition(".")[0] for name in sys.modules}))
"""


def loaded(*arguments: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", CODE, *arguments], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split()[1:])


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["train", "--help"], ["models", "lite0"]])
def test_help_and_tables_load_nothing_heavy(arguments):
    assert not loaded(*arguments) & HEAVY


def test_importing_fieldmark_loads_nothing_heavy():
    code = "import sys, fieldmark; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & HEAVY


def test_predicting_loads_no_torch_and_no_scoring(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("FIELDMARK_CACHE", str(tmp_path_factory.mktemp("cache")))
    data, result = trained(tmp_path_factory.mktemp("startup"))
    found = loaded("predict", str(result.bundle), str(next(data.rglob("*.png"))))
    assert not found & (WORKSHOP | {"sklearn", "jinja2", "pyarrow", "scipy"})
