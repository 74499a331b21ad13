"""Detectors by name: cut in two, learned, exported; torchvision's parts give what they give in torchvision."""

import functools
from collections import OrderedDict
from typing import get_args

import numpy as np
import pytest
import torch

from fieldmark.errors import FieldmarkError, UsageError
from fieldmark.field.runtime import compile_engine
from fieldmark.field.tasks import TaskFacts, get_task
from fieldmark.workshop.export.onnx import _row_difference, check_parity, export_onnx, set_weights
from fieldmark.workshop.models import create_backbone
from fieldmark.workshop.models.anchored import STEPS, images_of
from fieldmark.workshop.models.boxes import BoxNetwork, Truth, log_odds
from fieldmark.workshop.models.cut import split, trace
from fieldmark.workshop.models.detector import DETECTORS, make_detector
from fieldmark.workshop.recipe.values import Detector
from tests.training import BACKBONE

SIDE = 64
POSITIONS = {"fcos": 84, "ssdlite": 6 * 86, "retinanet": 9 * 86, "faster-rcnn": 200}
NAMED = ("ssdlite", "retinanet")
BOX = [8.0, 12.0, 40.0, 44.0]


def network(name: str, side: int = SIDE) -> BoxNetwork:
    torch.manual_seed(0)
    return make_detector(name, create_backbone(BACKBONE, "none", side), 2).eval().requires_grad_(False)


@functools.cache
def exported(name: str) -> bytes:
    return export_onnx(network(name), (SIDE, SIDE))


def pictures(n: int, side: int = SIDE) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (n, side, side, 3), np.uint8))


def truth(n: int = 2) -> Truth:
    """A box of the second class in the first of `n` views, none in the others."""
    nothing, no_class = torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)
    return Truth([torch.tensor([BOX]), *[nothing] * (n - 1)], [torch.tensor([1]), *[no_class] * (n - 1)], [nothing] * n)


@pytest.mark.parametrize("name", DETECTORS)
def test_a_detector_is_cut_and_whole_the_same_and_keeps_its_order(name):
    made = network(name)
    cuttable = trace(made)
    assert len(cuttable.names) > 2
    expected = made(pictures(2))
    for place in (cuttable.names[0], cuttable.names[-1]):
        prefix, tail = split(made, cuttable, place)
        for found, wanted in zip(tail(prefix(pictures(2))), expected, strict=True):
            torch.testing.assert_close(found, wanted)
    assert made.output_shapes((SIDE, SIDE)) == {"logits": [POSITIONS[name], 2], "boxes": [POSITIONS[name], 4]}
    assert len(tail.head()) == sum(1 for _ in made.parameters()) - sum(1 for _ in made.backbone.parameters())
    kept = list(made.state_dict(keep_vars=True).values())
    assert len({id(value) for value in kept}) == len(kept)
    assert made.describe()["kind"] == name


@pytest.mark.parametrize(("name", "steps"), [("fcos", 25), ("ssdlite", 25), ("retinanet", 25), ("faster-rcnn", 12)])
def test_a_detector_learns_a_box(name, steps):
    made = network(name).train().requires_grad_(True)
    shown = pictures(2) // 8 + 100
    shown[0, 12:44, 8:40] = torch.tensor([240, 30, 30], dtype=torch.uint8)
    _, tail = split(made, trace(made), "pictures")
    optimiser = torch.optim.AdamW(made.parameters(), 3e-3)
    losses = []
    for _ in range(steps):
        optimiser.zero_grad()
        (loss,) = tail(shown, truth())
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert np.mean(losses[-3:]) < 0.7 * np.mean(losses[:3])
    with torch.inference_mode():
        logits, boxes = made(shown)  # by the statistics of this batch, as it was learned
    best = int(logits[0, :, 1].argmax())
    assert logits[0, best, 1] > logits[0, best, 0]
    assert (boxes[0, best] - torch.tensor(BOX)).abs().max() < 8
    assert logits[0].max() > logits[1].max()


@pytest.mark.parametrize("name", DETECTORS)
def test_views_without_a_box_have_a_loss_that_is_a_number(name):
    made = network(name).train().requires_grad_(True)
    shown = truth(3)
    nothing = Truth(shown.boxes[1:], shown.labels[1:], shown.doubtful[1:])
    (loss,) = made(pictures(2), nothing)
    loss.backward()
    assert torch.isfinite(loss)


@pytest.mark.parametrize("name", DETECTORS)
def test_the_engine_gives_what_torch_gives_for_any_number_of_pictures(name):
    made, engine = network(name), compile_engine(exported(name), "f32")
    for n in (1, 3):
        expected = dict(zip(made.outputs, (t.numpy() for t in made(pictures(n))), strict=True))
        found = engine.run(pictures(n).numpy(), made.outputs)
        assert found["boxes"].shape == (n, POSITIONS[name], 4)
        if made.ordered:
            np.testing.assert_allclose(found["logits"], expected["logits"], atol=1e-4)
            np.testing.assert_allclose(found["boxes"], expected["boxes"], atol=1e-2)
        else:
            assert _row_difference(found, expected) < 1e-5


def test_proposals_that_say_something_else_do_not_leave_the_workshop():
    made, bias = network("faster-rcnn"), "inner.roi_heads.box_predictor.cls_score.bias"
    known = get_task("detect"), TaskFacts(("a", "b"))
    assert check_parity(made, exported(made.kind), pictures(2).numpy(), "f32", *known).f32_difference < 1e-5
    wrong = set_weights(exported(made.kind), {bias: made.state_dict()[bias].numpy() + np.arange(3)})
    with pytest.raises(FieldmarkError, match="disagree"):
        check_parity(made, wrong, pictures(2).numpy(), "f32", *known)


def test_rows_in_another_order_do_not_differ():
    rng = np.random.default_rng(0)
    expected = {"logits": rng.normal(size=(2, 100, 3)), "boxes": rng.uniform(0, 64, (2, 100, 4))}
    order = rng.permutation(100)
    found = {name: values[:, order] for name, values in expected.items()}
    assert _row_difference(found, expected) == 0
    found["boxes"] = found["boxes"] + 2
    assert _row_difference(found, expected) > 0.01
    assert _row_difference({k: v[:0] for k, v in found.items()}, {k: v[:0] for k, v in expected.items()}) == 0


@pytest.mark.parametrize("name", NAMED)
def test_moves_of_anchors_are_decoded_to_the_boxes_they_were_made_of(name):
    made = network(name)
    _, anchors = made.said(made.trunk()(made.normalise(pictures(1))))
    assert anchors.shape == (POSITIONS[name], 4)
    assert ((anchors[:, 2:] - anchors[:, :2]) > 1).all()
    low = torch.rand(len(anchors), 2) * 30
    boxes = torch.cat([low, low + 5 + 25 * torch.rand(len(anchors), 2)], 1)
    moves = made.inner.box_coder.encode_single(boxes, anchors)
    torch.testing.assert_close(made.placed(torch.stack([moves, moves]), anchors)[1], boxes, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("name", NAMED)
def test_anchors_lie_at_exact_strides_for_sides_that_no_stride_divides(name):
    made = network(name, 100)
    levels = made.levels(made.trunk()(made.normalise(pictures(1, 100))))
    sizes = [tuple(level.shape[2:]) for level in levels]
    assert sizes == [(13, 13), (7, 7), (4, 4), (2, 2), (1, 1)]
    (anchors,) = made.inner.anchor_generator(images_of(levels), levels)
    middles, start = (anchors[:, :2] + anchors[:, 2:]) / 2, 0
    for step, (h, w), each in zip(STEPS, sizes, made.inner.anchor_generator.num_anchors_per_location(), strict=True):
        mine = middles[start : start + h * w * each].reshape(h, w, each, 2)
        torch.testing.assert_close(mine[:, :, :, 0], mine[:1, :, :1, 0].expand(h, w, each))
        torch.testing.assert_close(mine[1:, :, :, 1] - mine[:-1, :, :, 1], torch.full((h - 1, w, each), float(step)))
        start += h * w * each
    assert start == len(anchors)


def test_log_odds_are_of_the_softmax_however_sure_it_is():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(200, 5)) * rng.choice([1, 10, 40], (200, 1))
    wide = torch.from_numpy(logits)
    rest = torch.stack([torch.cat([wide[:, :c], wide[:, c + 1 :]], 1).logsumexp(1) for c in range(5)], 1)
    torch.testing.assert_close(log_odds(wide.float()), (wide - rest)[:, 1:].float(), rtol=1e-5, atol=1e-4)


def test_features_of_proposals_are_those_of_torchvisions_pooling():
    made = network("faster-rcnn")
    levels = [torch.randn(2, 96, s, s) for s in (32, 16, 8)]
    low = torch.rand(2, 9, 2) * 20
    boxes = torch.cat([low, low + 230 * torch.rand(2, 9, 2)], 2)
    boxes[0, 0] = torch.tensor([1.0, 1.0, 250.0, 250.0])
    pool = made.inner.roi_heads.box_roi_pool
    expected = pool(OrderedDict((str(i), x) for i, x in enumerate(levels)), list(boxes), [(256, 256)] * 2)
    assert len(set(pool.map_levels(list(boxes)).tolist())) > 1
    torch.testing.assert_close(made.pooled(levels, boxes), expected)


def test_proposals_are_those_of_torchvision_but_for_the_level_and_each_picture_has_its_own():
    made = network("faster-rcnn")
    levels = made.levels(made.trunk()(made.normalise(pictures(3))))
    found = made.propose(levels)
    assert found.shape == (3, 200, 4)
    assert (found >= 0).all()
    assert (found <= SIDE).all()
    for i in range(3):
        torch.testing.assert_close(made.propose([x[i : i + 1] for x in levels])[0], found[i], rtol=1e-4, atol=1e-3)
    theirs, _ = made.inner.rpn(images_of(levels, 3), OrderedDict((str(i), x) for i, x in enumerate(levels)))
    for ours, best in zip(found, theirs, strict=True):
        torch.testing.assert_close(ours[0], best[0])
        near = torch.cdist(ours[:20], best, p=torch.inf).min(1).values
        assert (near < 1e-3).all()  # none of the best is suppressed there


def test_the_recipe_knows_every_detector_and_an_unknown_name_lists_the_near_ones():
    assert get_args(Detector) == tuple(DETECTORS)
    with pytest.raises(UsageError, match="retinanet"):
        make_detector("retina", create_backbone(BACKBONE, "none", SIDE), 2)
