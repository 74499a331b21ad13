"""A recurrent network in the engine, its states going in and coming out at every call; safe to call from threads.

S steps, N sequences, L layers, H hidden units.
"""

from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from fieldmark import bundle as bundles
from fieldmark.bundle import Bundle
from fieldmark.errors import BundleError, FieldmarkError

from .engine import compile_engine, compiling
from .facts import check_sequence_facts
from .onnx_check import check_onnx

NEXT = "_next"  # what a state is called as an output
States = dict[str, NDArray[np.float32]]  # each [L, N, H]


class Carried:
    """The network of a bundle of the task `sequence`; BundleError where it is not what the facts say."""

    def __init__(
        self, bundle: Bundle, precision: str = "auto", engine: str = "auto", one_at_a_time: bool = False
    ) -> None:
        self.bundle = bundle
        try:
            check_sequence_facts(bundle.facts)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise BundleError(
                f"{bundle.path}: {bundles.FACTS} holds a value that is not valid ({error}); copy the bundle again"
            ) from error
        facts = bundle.facts
        self.shapes = {name: (int(shape[0]), int(shape[1])) for name, shape in facts["states"].items()}
        self.output, width = next(iter(facts["outputs"].items()))
        self.input, self.width = facts["input"]["name"], int(width[0])
        precision = facts.get("precision", "auto") if precision == "auto" else precision
        try:
            with compiling():
                model = bundle.read(bundles.MODEL)
                check_onnx(model)
                self._inner = compile_engine(model, precision, name=engine, one_at_a_time=one_at_a_time)
        except FieldmarkError as error:
            if isinstance(error, BundleError):
                raise BundleError(f"{bundle.path}: {error}") from error
            raise
        except Exception as error:  # noqa: BLE001 - engines raise many kinds
            self._fail("cannot be compiled", error)
        self.name, self.precision = self._inner.name, self._inner.precision

    def begin(self, n: int = 1) -> States:
        """The states before anything is read, for `n` sequences."""
        return {name: np.zeros((layers, n, hidden), np.float32) for name, (layers, hidden) in self.shapes.items()}

    def run(self, inputs: NDArray[Any], states: States) -> tuple[NDArray[np.float32], States]:
        """The output [S, N, ...] for inputs [S, N, ...], and the states after them."""
        wanted = (self.output, *(name + NEXT for name in states))
        try:
            found = self._inner.run({self.input: inputs, **states}, wanted)
        except Exception as error:  # noqa: BLE001 - engines raise many kinds
            self._fail("cannot be run", error)
        if found[self.output].shape != (*inputs.shape[:2], self.width):
            self._fail("gives an output of the wrong shape")
        after = {name: found[name + NEXT] for name in states}
        if any(after[name].shape != state.shape for name, state in states.items()):
            self._fail("gives states of the wrong shape")
        return found[self.output], after

    def _fail(self, what: str, error: Exception | None = None) -> NoReturn:
        why = f" ({(str(error).strip().splitlines() or [type(error).__name__])[-1][:120]})" if error else ""
        raise BundleError(
            f"{self.bundle.path}: its network {what}{why}; copy the bundle again or train it anew"
        ) from error
