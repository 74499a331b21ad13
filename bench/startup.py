"""Start-up: medians over fresh processes, of the wall clock and of processor time (what a quiet machine would take).

    python -m bench.startup [BUNDLE]        (without one, a bundle is trained first by bench.quick)

Files are in the system's cache and modules are compiled: one run before the others is not counted.
"""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench import quick, results

RUNS = 11
SIZE_WH = (500, 400)


def seconds(command: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Wall-clock and processor seconds of one process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.perf_counter()
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    wall = time.perf_counter() - begun
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def medians(command: list[str], environment: dict[str, str]) -> dict[str, float]:
    """Medians over RUNS processes, after one that is not counted."""
    seconds(command, environment)
    runs = [seconds(command, environment) for _ in range(RUNS)]
    wall, processor = (statistics.median(column) for column in zip(*runs, strict=True))
    return {"seconds": round(wall, 3), "processor_seconds": round(processor, 3), "runs": RUNS}


def picture(path: Path) -> Path:
    """A JPEG of an ordinary size, the same each time."""
    noise = np.random.default_rng(0).integers(0, 255, (SIZE_WH[1] // 10, SIZE_WH[0] // 10, 3), np.uint8)
    Image.fromarray(noise).resize(SIZE_WH, Image.Resampling.BICUBIC).save(path, quality=90)
    return path


def main(bundle: Path | None = None) -> dict[str, Any]:
    """Measure and write down."""
    bundle = bundle or quick.trained()
    # a process that may not write its compiled modules compiles them again at each start, which doubles the time
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    fieldmark = [str(Path(sys.executable).parent / "fieldmark")]
    with tempfile.TemporaryDirectory() as folder:
        one = str(picture(Path(folder) / "one.jpg"))
        commands = {
            "python, nothing": [sys.executable, "-c", "pass"],
            "fieldmark --help": [*fieldmark, "--help"],
            "fieldmark models lite": [*fieldmark, "models", "lite"],
            "fieldmark predict, one picture": [*fieldmark, "predict", str(bundle), one],
        }
        found = {name: medians(command, environment) for name, command in commands.items()}
    results.write("startup", found)
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
