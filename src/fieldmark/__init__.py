"""Fieldmark: fine-grained image recognition that shows where it looked and says how sure it is."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .field.explain import explain_picture as explain
    from .field.runtime import Recogniser
    from .field.runtime.loading import evaluate, load
    from .types import Prediction
    from .workshop.train import train

_PLACES = {
    "train": ("workshop.train", "train"),
    "load": ("field.runtime.loading", "load"),
    "Recogniser": ("field.runtime", "Recogniser"),
    "Prediction": ("types", "Prediction"),
    "evaluate": ("field.runtime.loading", "evaluate"),
    "explain": ("field.explain", "explain_picture"),
}
__all__ = ["Prediction", "Recogniser", "__version__", "evaluate", "explain", "load", "train"]


def __getattr__(name: str) -> Any:
    """Load a public name on first use, so that `import fieldmark` imports neither torch nor the engine."""
    if name not in _PLACES:
        raise AttributeError(f"module 'fieldmark' has no attribute {name!r}")
    module, attribute = _PLACES[name]
    return getattr(import_module(f"{__name__}.{module}"), attribute)


def __dir__() -> list[str]:
    return sorted(__all__)
