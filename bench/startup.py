"""Start-up: medians of whole processes, cold: `fieldmark --help`, and `fieldmark predict BUNDLE one.jpg`.

python -m bench.startup
"""

import statistics
import subprocess
import sys
import time

from bench import data, quick, results

ROUNDS = 11


def median_s(arguments: list[str]) -> float:
    """Median seconds of a process over `ROUNDS` runs, after one that is not counted."""
    seconds = []
    for _ in range(ROUNDS + 1):
        begun = time.perf_counter()
        subprocess.run([sys.executable, "-m", "fieldmark", *arguments], capture_output=True, check=True)
        seconds.append(time.perf_counter() - begun)
    return statistics.median(seconds[1:])


def main() -> None:
    picture = str(data.grocery("test")[0])
    found = {
        "help_s": median_s(["--help"]),
        "predict_one_s": median_s(["predict", str(quick.trained()), picture]),
    }
    results.write("startup", found)


if __name__ == "__main__":
    main()
