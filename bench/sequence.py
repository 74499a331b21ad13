"""Character models on Jane Austen's six novels: against n-grams, and their speed against plain torch.

    python -m bench.sequence [speed|generate|train|all] [MINUTES...]     (all, with budgets of 5 and 15 minutes)

Held out are the last 10 % of the characters, most of one novel of which training has seen nothing but a beginning. The
n-gram model (order 5, modified Kneser-Ney) and ours learn from everything before them (`data.val=0`: a budget needs no
validation part). Speeds are medians of rounds in turns, ours and the other's, in one process: training as `nn.LSTM`'s
documentation tells (float32, all positions), with torch's own threads, and with one, by core-seconds, which a shared
machine distorts less; generation eager, one character at a time, with the better of one and of all threads.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from bench import results
from bench.ngram import bits_per_character
from bench.texts import austen
from fieldmark.data.alphabet import Alphabet
from fieldmark.field.runtime import cores
from fieldmark.field.runtime.loading import load_writer
from fieldmark.field.runtime.writer import cuts
from fieldmark.workshop.learn.sequence import NextCode
from fieldmark.workshop.models.recurrent import CharRNN
from fieldmark.workshop.recipe import load_recipe
from fieldmark.workshop.train.device import computes_bf16, keep_freed_memory
from fieldmark.workshop.train.journal import Journal
from fieldmark.workshop.train.loop import Fit
from fieldmark.workshop.train.optim import make_optimiser
from fieldmark.workshop.train.pace import Pace
from fieldmark.workshop.train.reading import ReadingLesson
from fieldmark.workshop.train.windows import TextWindows

OUT = Path(__file__).parent / "out" / "sequence"
ORDER = 5
MINUTES = (5, 15)
WINDOW, BATCH, HIDDEN, EMBEDDING = 32, 32, 512, 128
SHAPES = ((WINDOW, BATCH), (64, 32), (64, 64))  # the first is the default
ROUNDS, READ, WRITTEN = 9, 32_768, 1_500
Rates = tuple[float, float]


def trained(minutes: int, out: Path) -> dict[str, Any]:
    """What the command line makes in that time, and how loaded the machine was."""
    words = ["train", str(austen()), "--out", str(out), "--task", "sequence", "--budget", f"{minutes}m", "--json"]
    words += ["--set", "data.val=0"]
    run = subprocess.run([sys.executable, "-m", "fieldmark", *words], stdout=subprocess.PIPE, text=True, check=True)
    told = json.loads(run.stdout.splitlines()[-1])
    facts = json.loads((out / "bundle" / "bundle.json").read_text(encoding="utf-8"))
    steps = facts["learning"][0]["steps"]
    test = told["scores"]["test"]
    return {
        "seconds": told["seconds"],
        "characters_trained": steps * WINDOW * BATCH,
        "bits_per_character": test["bits_per_character"],
        "bits_per_character_ci": test["bits_per_character_ci"],
        "load_at_end": os.getloadavg()[1],
    }


def clocks() -> Rates:
    return time.perf_counter(), time.process_time()


def rates(began: Rates) -> Rates:
    """Characters a second and a core-second since then."""
    now = clocks()
    return READ / (now[0] - began[0]), READ / (now[1] - began[1])


def our_rounds(codes: Any, journal: Journal, window: int, batch: int) -> Callable[[], Rates]:
    """Characters a second, and a core-second, of the loop that `train` runs, each time it is called."""
    recipe = load_recipe("sequence")
    device = torch.device("cpu")
    keep_freed_memory()
    used = np.unique(codes).tolist()
    network = CharRNN(256, "lstm", EMBEDDING, HIDDEN, 1, used=used)
    source = TextWindows(codes, codes[:0], window, batch, 0)
    lesson = ReadingLesson(network, source, NextCode(used), 0.0, device, computes_bf16(device))
    optimiser = make_optimiser([list(network.named_parameters())], (), recipe.optim, batch, plain=True)

    def round_() -> Rates:
        with lesson.open():
            fit = Fit(
                "bench", lesson, optimiser, Pace(READ // (window * batch)), (recipe.optim, recipe.tune), journal,
                autocast=lesson.autocast, seed=0,
            )  # fmt: skip
            began = clocks()
            fit.run()
            return rates(began)

    return round_


def plain_rounds(codes: Any, window: int, batch: int) -> Callable[[int], Rates]:
    """The same of a plain loop with so many threads, on an alphabet of the text's own characters."""
    names, numbers = np.unique(codes, return_inverse=True)
    embedding, lstm, head = (
        nn.Embedding(len(names), EMBEDDING),
        nn.LSTM(EMBEDDING, HIDDEN, batch_first=True),
        nn.Linear(HIDDEN, len(names)),
    )
    parameters = [*embedding.parameters(), *lstm.parameters(), *head.parameters()]
    optimiser = torch.optim.AdamW(parameters, 3e-3)
    length = len(codes) // batch
    data = torch.from_numpy(numbers[: batch * length]).view(batch, length)
    carried: list[Any] = [None, 0]

    def round_(threads: int) -> Rates:
        torch.set_num_threads(threads)
        began = clocks()
        for _ in range(READ // (window * batch)):
            state, at = carried
            rows = data[:, at : at + window + 1]
            optimiser.zero_grad()
            found, state = lstm(embedding(rows[:, :-1]), state)
            loss = F.cross_entropy(head(found).flatten(0, 1), rows[:, 1:].flatten())
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimiser.step()
            carried[:] = [tuple(s.detach() for s in state), (at + window) % (length - window - 1)]
        return rates(began)

    return round_


def speed(window: int, batch: int) -> dict[str, float]:
    """Characters trained a second, ours and plain, in turns."""
    codes = Alphabet().encode(austen().read_text(encoding="utf-8")[:2_000_000])
    with tempfile.TemporaryDirectory() as folder:
        ours = our_rounds(codes, Journal(Path(folder) / "log.jsonl"), window, batch)
        plain = plain_rounds(codes, window, batch)
        every = cores()
        rows = [(*ours(), *plain(every), *plain(1)) for _ in range(ROUNDS)]
    names = (
        "trained_per_s",
        "trained_per_core_s",
        "plain_per_s",
        "plain_per_core_s",
        "",
        "plain_per_core_s_one_thread",
    )
    found = {
        name: statistics.median(column) for name, column in zip(names, zip(*rows, strict=True), strict=True) if name
    }
    return found | {
        "times_plain": statistics.median(row[0] / row[2] for row in rows),
        "times_plain_one_thread_by_core_s": statistics.median(row[1] / row[5] for row in rows),
        "load": os.getloadavg()[0],
    }


def eager(bundle: Path) -> Callable[[int], float]:
    """Characters a second that eager torch writes with the network of a bundle, with so many threads."""
    from safetensors.torch import load_file

    network = CharRNN(256, "lstm", EMBEDDING, HIDDEN, 1).eval()
    network.load_state_dict(load_file(bundle / "model.safetensors"))

    @torch.inference_mode()
    def write(threads: int) -> float:
        torch.set_num_threads(threads)
        code, states = torch.full((1, 1), 10), network.begin(1)
        began = time.perf_counter()
        for _ in range(WRITTEN):
            logits, *after = network(code, *states)
            states = tuple(after)
            code = torch.multinomial(torch.softmax(logits[0] / 0.8, -1), 1)
        return WRITTEN / (time.perf_counter() - began)

    return write


def generation(run: Path) -> dict[str, float]:
    """Characters written a second, ours and eager, in turns."""
    writer, other, every = load_writer(run), eager(run / "bundle"), cores()
    writer.generate("", 50)
    found = []
    for seed in range(ROUNDS):
        began = time.perf_counter()
        writer.generate("", WRITTEN, seed=seed)
        ours = WRITTEN / (time.perf_counter() - began)
        found.append((ours, max(other(1), other(every))))
    return {
        "written_per_s": statistics.median(a for a, _ in found),
        "written_per_s_eager": statistics.median(b for _, b in found),
        "times_eager": statistics.median(a / b for a, b in found),
        "load": os.getloadavg()[0],
    }


def ngrams() -> dict[str, float]:
    text = austen().read_text(encoding="utf-8")
    _, test = cuts(len(text), 0.0, 0.1)
    return {
        "characters": len(text),
        "held_out": len(text) - test,
        "ngram_bits_per_character": bits_per_character(text, test, test, ORDER),
    }


def main(part: str, minutes: tuple[int, ...]) -> None:
    found = results.read("sequence")
    if part in ("all", "speed"):
        found["speed"] = {f"{batch} streams of {window}": speed(window, batch) for window, batch in SHAPES}
    if part in ("all", "train"):
        found["text"] = ngrams()
        for m in minutes:
            shutil.rmtree(OUT / str(m), ignore_errors=True)
            found[f"{m} minutes"] = trained(m, OUT / str(m))
            found["generation"] = generation(OUT / str(m))
            results.write("sequence", found)
    if part == "generate":
        found["generation"] = generation(Path(sys.argv[2]))
    results.write("sequence", found)


if __name__ == "__main__":
    asked = sys.argv[1] if len(sys.argv) > 1 else "all"
    main(asked, tuple(int(m) for m in sys.argv[2:] if m.isdigit()) or MINUTES)
