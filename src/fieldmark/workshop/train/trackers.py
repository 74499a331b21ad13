"""Training curves for other programs: TensorBoard and MLflow, through their own libraries, on this machine's disk."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from fieldmark.errors import MissingExtraError
from fieldmark.workshop.recipe import LogRecipe


class Tracker(Protocol):
    """Where numbers by name go, a step at a time."""

    def log(self, values: Mapping[str, float], step: int) -> None: ...

    def close(self) -> None: ...


class TensorBoard:
    """Event files in RUN/tensorboard."""

    def __init__(self, run: Path, recipe: Mapping[str, Any]) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise MissingExtraError("TensorBoard logs", "tensorboard") from None
        self._writer: Any = SummaryWriter(str(run / "tensorboard"))
        self._writer.add_text("recipe", "\n".join(f"    {key} = {value}" for key, value in recipe.items()))

    def log(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class MLflow:
    """A run of MLflow, in `$MLFLOW_TRACKING_URI`, else in RUN/mlflow.db; its telemetry is switched off."""

    def __init__(self, run: Path, recipe: Mapping[str, Any]) -> None:
        os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
        os.environ["DO_NOT_TRACK"] = "true"
        try:
            import mlflow
        except ImportError:
            raise MissingExtraError("MLflow logs", "mlflow") from None
        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.WARNING)
        self._mlflow: Any = mlflow
        if not os.environ.get("MLFLOW_TRACKING_URI"):
            mlflow.set_tracking_uri(f"sqlite:///{(run / 'mlflow.db').resolve()}")
        mlflow.set_experiment("fieldmark")
        mlflow.start_run(run_name=run.name)
        mlflow.log_params(dict(recipe))

    def log(self, values: Mapping[str, float], step: int) -> None:
        self._mlflow.log_metrics(dict(values), step=step)

    def close(self) -> None:
        self._mlflow.end_run()


TRACKERS: dict[str, type[TensorBoard] | type[MLflow]] = {"tensorboard": TensorBoard, "mlflow": MLflow}


def open_trackers(wanted: LogRecipe, run: Path, recipe: Mapping[str, Any]) -> list[Tracker]:
    """The trackers that the recipe asks for; MissingExtraError when a library is not installed."""
    return [kind(run, recipe) for name, kind in TRACKERS.items() if getattr(wanted, name)]
