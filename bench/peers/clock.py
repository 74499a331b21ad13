"""The clock of a peer's run: it stands still while weights are put aside to be scored later."""

import json
import time
from pathlib import Path
from typing import Any


class Clock:
    """Seconds since the process began, without what `aside` took."""

    def __init__(self, out: Path) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self.out, self.rows, self._aside = out, [], 0.0

    def aside(self, model: Any, kept: bool = True) -> None:
        """An epoch has ended: note when, and keep the weights."""
        import torch

        now = time.time()
        self.rows.append({"epoch": len(self.rows) + 1, "seconds": now - _process_began() - self._aside})
        if kept:
            torch.save(model.state_dict(), self.out / f"{len(self.rows)}.pt")
        self._aside += time.time() - now

    def scored(self, model: Any, score: Any) -> None:
        """The test accuracy after each epoch, with `score(model)`, beside its time."""
        import torch

        for row in self.rows:
            state = torch.load(self.out / f"{row['epoch']}.pt", weights_only=True)
            model.load_state_dict(state)
            row["accuracy"] = score(model)
        (self.out / "curve.json").write_text(json.dumps(self.rows))


def _process_began() -> float:
    """When this process was started, on the clock of time.time()."""
    import os

    ticks = int(Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()[19])
    up = float(Path("/proc/uptime").read_text().split()[0])
    return time.time() - (up - ticks / os.sysconf("SC_CLK_TCK"))
