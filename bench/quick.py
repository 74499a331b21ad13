"""`fieldmark train grocery/labels.csv --recipe quick` as a user runs it: a fresh process, an empty cache, wall-clock.

python -m bench.quick
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import data, results

OUT = Path(__file__).parent / "out" / "quick"


def run(out: Path, seed: int) -> dict[str, Any]:
    """One training from an empty cache; the scores, and seconds of the whole process."""
    shutil.rmtree(out, ignore_errors=True)
    with tempfile.TemporaryDirectory() as cache:
        command = [sys.executable, "-m", "fieldmark", "train", str(data.folder("grocery") / "labels.csv")]
        begun = time.perf_counter()
        done = subprocess.run(
            [*command, "--out", str(out), "--recipe", "quick", "--seed", str(seed), "--json"],
            env={**os.environ, "FIELDMARK_CACHE": cache},
            capture_output=True,
            text=True,
            check=True,
        )
        seconds = time.perf_counter() - begun
    test = json.loads(done.stdout.splitlines()[-1])["scores"]["test"]
    keys = ("n", "accuracy", "accuracy_ci", "coarse_accuracy", "coarse_accuracy_ci", "top5", "macro_f1", "ece", "nll")
    return {"seconds": round(seconds, 1), **{key: test[key] for key in keys}}


def trained() -> Path:
    """The bundle of an earlier run of this benchmark, or of one now."""
    if not (OUT / "bundle").is_dir():
        run(OUT, 0)
    return OUT / "bundle"


def main() -> None:
    results.write("quick", {f"run {i + 1}": run(OUT, 0) for i in range(3)})


if __name__ == "__main__":
    main()
