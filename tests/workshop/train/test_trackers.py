"""Curves for TensorBoard and MLflow, read back with their own libraries."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fieldmark.errors import MissingExtraError
from fieldmark.workshop.recipe import LogRecipe
from fieldmark.workshop.train.journal import Journal
from fieldmark.workshop.train.trackers import open_trackers

ROOT = Path(__file__).parents[3]

# in processes of their own: both libraries warn about matters of theirs, and MLflow keeps its place for the process
WRITE = """
import sys
from pathlib import Path
from fieldmark.workshop.recipe import LogRecipe
from fieldmark.workshop.train.journal import Journal
from fieldmark.workshop.train.trackers import open_trackers
run, name = Path(sys.argv[1]), sys.argv[2]
journal = Journal(run / "log.jsonl", trackers=open_trackers(LogRecipe(**{name: True}), run, {"optim.rate": 0.1}))
for step in range(3):
    journal.measure("train", "tail", step, loss=2.0 - step)
journal.close()
"""
READ = {
    "tensorboard": """
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
found = EventAccumulator(sys.argv[1] + "/tensorboard")
found.Reload()
print(json.dumps([[e.step, e.value] for e in found.Scalars("tail/train/loss")]))
""",
    "mlflow": """
import json, sys
from mlflow import MlflowClient
client = MlflowClient(f"sqlite:///{sys.argv[1]}/mlflow.db")
(run,) = client.search_runs([e.experiment_id for e in client.search_experiments()])
assert run.data.params == {"optim.rate": "0.1"}
print(json.dumps([[m.step, m.value] for m in client.get_metric_history(run.info.run_id, "tail/train/loss")]))
""",
}


def python(code: str, *words: str, home: Path) -> str:
    env = {"HOME": str(home), "PATH": "/usr/bin:/bin", "PYTHONPATH": f"{ROOT}/src", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=home, env=env, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", READ)
def test_curves_are_read_back_with_the_library_itself(name, tmp_path):
    home, reader, run = (tmp_path / place for place in ("home", "reader", "run"))
    for place in (home, reader, run):
        place.mkdir()
    python(WRITE, str(run), name, home=home)
    assert json.loads(python(READ[name], str(run), home=reader).splitlines()[-1]) == [[0, 2.0], [1, 1.0], [2, 0.0]]
    assert [p for p in home.rglob("*") if p.is_file()] == []
    assert len((run / "log.jsonl").read_text(encoding="utf-8").splitlines()) == 3


@pytest.mark.parametrize(("name", "library"), [("tensorboard", "torch.utils.tensorboard"), ("mlflow", "mlflow")])
def test_a_library_that_is_not_there_is_said(name, library, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtraError, match=rf"fieldmark\[{name}\]"):
        open_trackers(LogRecipe(**{name: True}), tmp_path, {})


def test_without_trackers_only_the_log_is_written(tmp_path):
    assert open_trackers(LogRecipe(), tmp_path, {}) == []
    Journal(tmp_path / "log.jsonl").measure("train", "tail", 0, loss=1.0)
    assert [p.name for p in tmp_path.iterdir()] == ["log.jsonl"]
