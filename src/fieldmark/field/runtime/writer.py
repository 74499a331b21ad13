"""A character model at work: how surprising a text is to it, and texts of its own.

S steps, N streams, V codes.
"""

import codecs
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fieldmark.bundle import Bundle
from fieldmark.data.alphabet import BYTES, CONTINUATION, Alphabet, Array, begins_character
from fieldmark.data.text import Text, encode_text, open_text
from fieldmark.errors import BundleError, DataError, UsageError, unknown_name
from fieldmark.field.tasks.sequence import text_scores

from .carried import Carried, States
from .engine import cores, installed
from .evaluation import ALL, Evaluation, Tick, silent

MOST_LENGTH = 1_000_000  # characters of one generation
MOST_PROMPT = 1_000_000
BEGINNING = "\n"  # what is read before a text
PARTS = ("train", "val", "test", ALL)
MOST_SCORED = 2_000_000  # codes of a part; of a longer one, passages spread evenly over it
STREAMS, STEPS = 32, 128  # of a call, a core
CONTEXT = 512  # codes read before those that are scored
LEADING = ((1, 0xC2), (2, 0xE0), (3, 0xF0))  # how many bytes follow a byte from there on
NO_MORE = 0xF5  # from here on no byte is part of UTF-8
COARSEST = 1e-3  # temperature: below, the most probable code


class Writer:
    """A loaded bundle of a character model."""

    def __init__(self, bundle: Bundle, precision: str = "auto", engine: str = "auto") -> None:
        self.bundle, self.engine = bundle, Carried(bundle, precision, engine)
        self._free = (precision, engine) == ("auto", "auto")
        try:
            self.alphabet = Alphabet(str(bundle.facts["alphabet"]["characters"]))
            if self.alphabet.size != self.engine.width:
                raise ValueError("it has another size than the network")
        except (LookupError, TypeError, ValueError) as error:
            raise BundleError(
                f"{bundle.path}: its alphabet is not valid ({error}); copy the bundle again or train it anew"
            ) from error

    # -- texts of its own --

    @cached_property
    def stepping(self) -> Carried:
        """The engine for one step at a time: ONNX Runtime where it is installed, several times as quick at that as
        OpenVINO (docs/experiments.md), unless an engine or a precision was asked for."""
        if not (self._free and installed("onnxruntime")):
            return self.engine
        return Carried(self.bundle, "f32", "onnxruntime", one_at_a_time=True)

    def generate(
        self, prompt: str = "", length: int = 500, temperature: float = 0.8, top_p: float = 1.0, seed: int = 0
    ) -> str:
        """`length` characters that go on after `prompt`, as `stream` gives them; the prompt is not repeated."""
        return "".join(self.stream(prompt, length, temperature, top_p, seed))

    def stream(
        self, prompt: str = "", length: int = 500, temperature: float = 0.8, top_p: float = 1.0, seed: int = 0
    ) -> Iterator[str]:
        """The same, one or a few characters at a time.

        Each code is drawn from softmax(logits / temperature), 0: the most probable one; `top_p` below 1 leaves out the
        least probable ones beyond that sum (Holtzman et al. 2020). The same seed gives the same text. UsageError for
        values out of range.
        """
        _check_wishes(prompt, length, temperature, top_p, seed)
        return islice(self._characters(prompt, temperature, top_p, seed), length)

    def _characters(self, prompt: str, temperature: float, top_p: float, seed: int) -> Iterator[str]:
        rng, decoder = np.random.default_rng(seed), codecs.getincrementaldecoder("utf-8")("replace")
        logits, states = self.read(prompt or BEGINNING)
        step, left = np.zeros((1, 1), np.int64), 0  # bytes that the present character lacks
        while True:
            able = np.where(self._inside if left else self._between, logits, -np.inf)
            step[0, 0] = code = draw(able, temperature, top_p, rng)
            left = left - 1 if left else max((n for n, first in LEADING if first <= code < BYTES), default=0)
            yield from decoder.decode(self.alphabet.bytes_of[code])
            outputs, states = self.stepping.run(step, states)
            logits = outputs[0, 0]

    @cached_property
    def _inside(self) -> NDArray[np.bool_]:
        """Which codes can go on with a character of several bytes, [V]."""
        codes = np.arange(self.alphabet.size)
        return np.asarray((codes >= CONTINUATION[0]) & (codes < CONTINUATION[1]))

    @cached_property
    def _between(self) -> NDArray[np.bool_]:
        """Which codes can begin a character, [V]."""
        codes = np.arange(self.alphabet.size)
        return np.asarray((codes < CONTINUATION[0]) | ((codes >= LEADING[0][1]) & (codes < NO_MORE)) | (codes >= BYTES))

    def read(self, text: str) -> tuple[NDArray[np.float32], States]:
        """The logits [V] of what comes after a text, and the states after it."""
        states = self.engine.begin()
        codes = self.alphabet.encode(text).astype(np.int64)
        logits = np.zeros(self.engine.width, np.float32)
        for at in range(0, len(codes), STEPS):
            outputs, states = self.stepping.run(codes[at : at + STEPS, None], states)
            logits = outputs[-1, 0]
        return logits, states

    # -- how well it foresees --

    def evaluate(self, data: str | Path | Text, part: str | None = None, tick: Tick = silent) -> Evaluation:
        """Scores on a text: the held-out tail recorded at training where it is the same ("test" unless `part` names
        another), other text whole. Raises DataError when it cannot be read or is too short."""
        text = data if isinstance(data, Text) else open_text(data)
        name, note, (start, stop) = choose_part(self.bundle, text.characters, text.fingerprint, part)
        codes, places = encode_text(text, self.alphabet, (start, stop), lambda done, n: None)
        scores = self.score(codes, places[0], places[1], tick)
        return Evaluation(name, note, scores, (), {}, (), text.skipped)

    def score(self, codes: Array, start: int, stop: int, tick: Tick = silent) -> dict[str, object]:
        """The scores of codes[start:stop], each foreseen from those before it; DataError when there are none."""
        if stop - start < 1:
            raise DataError("this part of the text is empty; choose another with --split")
        lanes = [(max(1, a), b) for a, b in _passages(start, stop) if b > max(1, a)]
        groups = [lanes[i : i + STREAMS] for i in range(0, len(lanes), STREAMS)]
        nats: list[NDArray[np.float32]] = []
        with ThreadPoolExecutor(cores(), thread_name_prefix="fieldmark") as pool:
            for done, found in enumerate(pool.map(lambda group: self._nats(codes, group), groups), start=1):
                nats += found
                tick(done, len(groups))
        begins = np.concatenate([begins_character(np.asarray(codes[a:b])) for a, b in lanes])
        return text_scores(np.concatenate(nats), begins)

    def _nats(self, codes: Array, lanes: list[tuple[int, int]]) -> list[NDArray[np.float32]]:
        """Of each of some passages side by side, the surprise at each code in nats."""
        before = [min(CONTEXT, a) for a, _ in lanes]
        longest = max(n + b - a for n, (a, b) in zip(before, lanes, strict=True))
        table = np.zeros((longest + 1, len(lanes)), np.int64)
        for i, (n, (a, b)) in enumerate(zip(before, lanes, strict=True)):
            table[: n + b - a, i] = codes[a - n : b]
        states, found = self.engine.begin(len(lanes)), np.zeros((longest, len(lanes)), np.float32)
        for at in range(0, longest, STEPS):
            some = table[at : at + STEPS + 1]
            logits, states = self.engine.run(np.ascontiguousarray(some[:-1]), states)
            found[at : at + len(some) - 1] = surprise(logits, some[1:])
        return [found[n - 1 : n - 1 + b - a, i] for i, (n, (a, b)) in enumerate(zip(before, lanes, strict=True))]


def choose_part(bundle: Bundle, total: int, fingerprint: str, part: str | None) -> tuple[str, str, tuple[int, int]]:
    """Which of `total` characters or rows to score: the name of the part, why, and where it begins and ends."""
    if part not in (None, *PARTS):
        raise UsageError(unknown_name("split", str(part), PARTS))
    data = bundle.facts.get("data") or {}
    if fingerprint != data.get("fingerprint"):
        if part not in (None, ALL):
            raise UsageError(f"this is other data than at training, without a {part} part; leave --split away")
        return ALL, "other data than at training: all of it", (0, total)
    name = part or "test"
    first, second = cuts(total, float(data["val"]), float(data["test"]))
    where = {"train": (0, first), "val": (first, second), "test": (second, total), ALL: (0, total)}[name]
    if where[0] == where[1]:
        raise DataError(f"the {name} part of the data is empty; choose another with --split")
    return name, f"the {name} part recorded at training", where


def cuts(total: int, val: float, test: float) -> tuple[int, int]:
    """Where validation and test begin in `total` characters or rows: the last `test` of them, `val` before those."""
    return total - round((val + test) * total), total - round(test * total)


def _passages(start: int, stop: int) -> list[tuple[int, int]]:
    """The codes to score in passages of one length, for as many streams as a call has on every core; of a part that is
    longer than `MOST_SCORED`, evenly spread ones."""
    count = max(1, min(STREAMS * cores(), (stop - start) // (2 * CONTEXT)))
    edges = np.linspace(start, stop, count + 1).round().astype(int)
    most = -(-MOST_SCORED // count)
    return [(int(a), int(min(b, a + most))) for a, b in pairwise(edges)]


def surprise(logits: NDArray[np.float32], codes: NDArray[np.int64]) -> NDArray[np.float32]:
    """-log softmax(logits)[code] in nats, [S, N], for logits [S, N, V] and codes [S, N]."""
    top = logits.max(-1)
    spread = np.log(np.exp(logits - top[..., None]).sum(-1))
    return np.asarray(top + spread - np.take_along_axis(logits, codes[..., None], -1)[..., 0], np.float32)


def draw(logits: NDArray[np.float32], temperature: float, top_p: float, rng: np.random.Generator) -> int:
    """One code from softmax(logits [V] / temperature), of the most probable ones that together reach `top_p`."""
    if temperature < COARSEST:
        return int(logits.argmax())
    p = np.exp((logits - logits.max()) / np.float64(temperature))
    if top_p < 1:
        order = np.argsort(-p, kind="stable")
        upto = np.cumsum(p[order])
        p[order[1 + int(np.searchsorted(upto, top_p * upto[-1])) :]] = 0.0
    upto = np.cumsum(p)
    return int(np.searchsorted(upto, rng.random() * upto[-1], side="right"))


def _check_wishes(prompt: str, length: int, temperature: float, top_p: float, seed: int) -> None:
    if not 0 <= length <= MOST_LENGTH:
        raise UsageError(f"the length must be between 0 and {MOST_LENGTH:,} characters, not {length}")
    if len(prompt) > MOST_PROMPT:
        raise UsageError(f"the prompt is longer than {MOST_PROMPT:,} characters; give its end alone")
    if not 0 <= temperature <= 100:
        raise UsageError(f"the temperature must be between 0 and 100, not {temperature}")
    if not 0 < top_p <= 1:
        raise UsageError(f"top-p must be above 0 and at most 1, not {top_p}")
    if seed < 0:
        raise UsageError(f"the seed must be 0 or more, not {seed}")
