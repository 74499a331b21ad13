"""A bundle's network under watch: whatever goes wrong inside the engine becomes one sentence about the bundle."""

from collections.abc import Callable, Sequence
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from fieldmark.errors import BundleError, FieldmarkError

from .engine import Arrays, Compiled, compile_engine
from .onnx_check import check_onnx

Unfit = Callable[[Arrays], str]


class CheckedEngine:
    """An Engine for pictures of `size_wh` whose outputs are as the task reads them; BundleError where they are not:
    `unfit` says what is wrong with them. `place` is the bundle as messages name it.
    """

    def __init__(self, make: Callable[[], Compiled], size_wh: tuple[int, int], unfit: Unfit, place: str) -> None:
        self._unfit, self._place = unfit, place
        try:
            self._inner = make()
        except FieldmarkError as error:
            if isinstance(error, BundleError):
                raise BundleError(f"{place}: {error}") from error
            raise
        except Exception as error:  # noqa: BLE001 - engines raise many kinds
            self._fail("cannot be compiled", error)
        self.name, self.precision, self.micro_batch = self._inner.name, self._inner.precision, self._inner.micro_batch
        shape, self._outputs = self._inner.signature()
        self._check_input(shape, size_wh)

    def _check_input(self, shape: tuple[int | None, ...], size_wh: tuple[int, int]) -> None:
        width, height = size_wh
        wanted = (1, height, width, 3)
        if len(shape) != 4 or any(side not in (None, wanted[axis]) for axis, side in enumerate(shape) if axis):
            self._fail(f"does not take pictures of {width} x {height} pixels")

    def run(self, pictures: NDArray[np.uint8], outputs: Sequence[str]) -> Arrays:
        lacks = set(outputs) - self._outputs
        if lacks:
            self._fail(f"has no output {', '.join(sorted(lacks))}")
        try:
            found = self._inner.run(pictures, outputs)
        except Exception as error:  # noqa: BLE001 - engines raise many kinds
            self._fail("cannot be run", error)
        for name, values in found.items():
            if values.ndim < 2 or len(values) != len(pictures):
                self._fail(f"gives {name} of the wrong shape")
        if why := self._unfit(found):
            self._fail(why)
        return found

    def _fail(self, what: str, error: Exception | None = None) -> NoReturn:
        why = f" ({(str(error).strip().splitlines() or [type(error).__name__])[-1][:120]})" if error else ""
        raise BundleError(f"{self._place}: its network {what}{why}; copy the bundle again or train it anew") from error


def compile_checked(
    onnx: bytes, precision: str, engine: str, size_wh: tuple[int, int], unfit: Unfit, place: str
) -> CheckedEngine:
    """The engine of a bundle's network; BundleError for one that reads other files or is not what the facts say."""

    def make() -> Compiled:
        check_onnx(onnx)
        return compile_engine(onnx, precision, name=engine)

    return CheckedEngine(make, size_wh, unfit, place)
