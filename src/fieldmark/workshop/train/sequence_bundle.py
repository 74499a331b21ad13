"""How a training of the task `sequence` ends: the bundle, scored by itself, and the report."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fieldmark import bundle as bundles
from fieldmark.field.report import sequence_card
from fieldmark.field.runtime import Evaluation
from fieldmark.field.runtime.loading import load
from fieldmark.field.runtime.writer import Writer
from fieldmark.workshop.export import with_notes
from fieldmark.workshop.export.pack import versions, weights_bytes
from fieldmark.workshop.export.sequence import check_steps, export_steps
from fieldmark.workshop.models.recurrent import Recurrent, sizes
from fieldmark.workshop.recipe import Recipe
from fieldmark.workshop.train.journal import Journal
from fieldmark.workshop.train.material import Material

SAMPLE_LENGTH = 600
SAMPLES = ((0.8, 0), (0.5, 0))  # temperature and seed


def export_material(material: Material, network: Recurrent) -> bytes:
    """The network as ONNX, traced with the material's example."""
    import torch

    return export_steps(network, torch.from_numpy(material.example()), material.names)


def write_sequence_bundle(
    partial: Path,
    recipe: Recipe,
    material: Material,
    network: Recurrent,
    learned: Mapping[str, Any],
    journal: Journal,
) -> tuple[list[Evaluation], dict[str, Any]]:
    """Fill the partial bundle folder and score the very bundle; its evaluations and facts."""
    facts = _facts(recipe, material, network, learned)
    with journal.step("bundle"):
        onnx = export_material(material, network)
        parity = check_steps(network, onnx, material.example(), material.cost, material.names, recipe.bundle.precision)
        facts |= {"precision": recipe.bundle.precision if parity.holds else "f32", "parity": parity.to_json()}
        notes = {key: facts[key] for key in ("task", "kind", "input", "states", "outputs", *material.facts())}
        files = {bundles.MODEL: with_notes(onnx, notes), bundles.WEIGHTS: weights_bytes(network)}
        bundles.save(partial, facts, files)
    model = load(partial)
    evaluations = [_score(model, material, part, journal) for part in ("val", "test") if part in material.parts]
    facts["scores"] = {e.split: e.scores for e in evaluations}
    if isinstance(model, Writer):
        with journal.step("samples"):
            facts["samples"] = _samples(model)
    bundles.save(partial, facts, files | {bundles.CARD: sequence_card(facts).encode()})
    return evaluations, facts


def _score(model: Any, material: Material, part: str, journal: Journal) -> Evaluation:
    with journal.step(f"scores on {part}") as tick:
        return material.evaluation(model, part, tick)


def _samples(model: Writer) -> list[dict[str, Any]]:
    return [
        {"temperature": t, "seed": seed, "text": model.generate("", SAMPLE_LENGTH, t, seed=seed)} for t, seed in SAMPLES
    ]


def _facts(recipe: Recipe, material: Material, network: Recurrent, learned: Mapping[str, Any]) -> dict[str, Any]:
    output = len(network.get_parameter("bias"))
    parts = {name: {"n": end - begin} for name, (begin, end) in material.parts.items()}
    return {
        "task": bundles.SEQUENCE,
        "kind": material.kind,
        **material.facts(),
        "input": {"name": material.names[0], "layout": "SN"},
        "states": {name: [len(network.layers), network.hidden] for name in network.states},
        "outputs": {material.names[1]: [output]},
        "network": {"name": type(network).__name__.lower(), **sizes(network)},
        "learning": [{"name": "full", "trains": "the whole network", **learned}],
        "recipe": recipe.to_json(),
        "data": {
            "source": "/".join(Path(material.place).parts[-2:]),
            "fingerprint": material.fingerprint,
            "val": recipe.data.val,
            "test": recipe.data.test,
            "skipped": len(material.skipped),
            "parts": parts,
        },
        "versions": versions(),
    }
