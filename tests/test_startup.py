"""What each command imports, which decides how soon it answers; nothing here looks at a clock."""

import subprocess
import sys
from pathlib import Path

import pytest

from fieldmark.bundle import Bundle

from .making import write_picture

HEAVY = {"torch", "torchvision", "timm", "onnx", "onnxruntime", "sklearn", "scipy", "jinja2", "pyarrow", "numpy"}
HEAVY |= {"openvino", "PIL", "rich", "safetensors", "asyncio", "email", "urllib.request", "http.client"}
RUN = """
import sys
sys.argv = ["fieldmark", *sys.argv[1:]]
from fieldmark.__main__ import main
try:
    main()
finally:
    print("imported", *sorted(sys.modules), file=sys.stderr)
"""


def imported(*arguments: str, code: str = RUN) -> set[str]:
    """The modules that a fresh process has imported at its end."""
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stderr.splitlines()[-1].split()[1:])


@pytest.mark.parametrize("verb", ["", "train", "evaluate", "predict", "explain", "export", "models", "data", "demo"])
def test_help_imports_nothing_heavy(verb):
    assert not imported(*verb.split(), "--help") & HEAVY


def test_the_package_imports_nothing_heavy():
    loaded = imported(code="import sys, fieldmark; print('imported', *sys.modules, file=sys.stderr)")
    assert not loaded & (HEAVY | {"click", "json", "importlib.metadata"})
    assert {name for name in loaded if name.startswith("fieldmark")} == {"fieldmark"}


def test_models_imports_nothing_heavy():
    assert not imported("models", "lite") & HEAVY


def test_data_imports_neither_torch_nor_what_dials():
    heavy = HEAVY - {"numpy", "PIL"}
    assert not imported("data", "--json") & heavy


@pytest.mark.parametrize("form", ["table", "jsonl", "csv"])
def test_predict_imports_the_engine_and_no_more(bundle: Bundle, tmp_path: Path, form: str):
    one = write_picture(tmp_path / "one.jpg")
    loaded = imported("predict", str(bundle.path), str(one), "--format", form)
    assert {"numpy", "PIL", "openvino"} <= loaded
    assert not loaded & {"torch", "timm", "onnx", "onnxruntime", "sklearn", "scipy", "jinja2", "pyarrow", "rich"}
    assert not {name for name in loaded if name.startswith(("fieldmark.workshop", "fieldmark.field.report"))}
    # OpenVINO's model converter is half of its import, its telemetry phones home
    assert not {name for name in loaded if name.startswith(("openvino.tools.ovc", "openvino_telemetry."))}


def test_explain_imports_neither_torch_nor_scikit_learn(bundle: Bundle, tmp_path: Path):
    one = write_picture(tmp_path / "one.jpg")
    loaded = imported("explain", str(bundle.path), str(one), "--out", str(tmp_path / "out"))
    assert not loaded & {"torch", "timm", "onnx", "sklearn", "scipy", "jinja2", "pyarrow", "rich"}


def test_openvino_s_converter_is_still_there_for_others(bundle: Bundle):
    """Fieldmark puts the converter off; a program that uses both finds it where OpenVINO has it."""
    code = (
        "import sys\n"
        "from fieldmark.field.runtime import load\n"
        "load(sys.argv[1]).engine\n"
        "import openvino\n"
        "assert 'openvino.tools.ovc' not in sys.modules\n"
        "model = openvino.convert_model(sys.argv[1] + '/model.onnx')\n"
        "assert [name for out in model.outputs for name in out.names], model\n"
        "import openvino.tools.ovc\n"
        "print('imported', *sys.modules, file=sys.stderr)\n"
    )
    assert "openvino.tools.ovc.convert" in imported(str(bundle.path), code=code)
