"""Rates by layer, schedules, moving averages."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from fieldmark.errors import UsageError
from fieldmark.workshop.recipe import OptimRecipe
from fieldmark.workshop.train import optim


def layers():
    net = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))
    return net, [list(part.named_parameters()) for part in net]


@pytest.mark.parametrize("name", optim.OPTIMISERS)
def test_every_optimiser_lowers_a_loss_with_its_automatic_rate(name):
    torch.manual_seed(0)
    net, parts = layers()
    head = nn.Linear(2, 1)
    x = torch.randn(64, 3)
    y = x.sum(1, keepdim=True)
    found = optim.make_optimiser(parts, head.parameters(), OptimRecipe(name=name), 32)
    losses = []
    for _ in range(200):
        loss = (head(net(x)) - y).square().mean()
        found.zero_grad()
        loss.backward()
        found.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("name", optim.OPTIMISERS)
def test_the_form_for_plain_parameters_takes_the_same_steps(name):
    ends = []
    for plain in (False, True):
        torch.manual_seed(0)
        net, parts = layers()
        found = optim.make_optimiser(parts, (), OptimRecipe(name=name), 32, plain)
        assert found.defaults.get("fused") is (True if plain and name in optim.FUSED else None)
        for _ in range(20):
            found.zero_grad()
            net(torch.randn(8, 3)).square().sum().backward()
            found.step()
        ends.append(torch.cat([p.detach().flatten() for p in net.parameters()]))
    torch.testing.assert_close(*ends)


def test_layers_nearer_to_the_picture_learn_slower_and_norms_do_not_decay():
    _, parts = layers()
    head = nn.Linear(2, 1)
    recipe = OptimRecipe(rate=0.1, layer_decay=0.5, weight_decay=0.3, head_factor=2)
    found = optim.make_optimiser(parts, head.parameters(), recipe, 32)
    of = {id(p): (g["peak"], g["weight_decay"]) for g in found.param_groups for p in g["params"]}
    expected = {0: 0.025, 1: 0.05, 2: 0.1}
    for depth, part in enumerate(parts):
        for _, p in part:
            assert of[id(p)] == pytest.approx((expected[depth], 0.3 if p.ndim > 1 else 0.0))
    assert of[id(head.weight)] == pytest.approx((0.2, 0.3))
    assert of[id(head.bias)] == pytest.approx((0.2, 0.0))
    assert len(of) == 8


def test_the_automatic_rate_follows_the_batch():
    assert optim.automatic_rate("adamw", 128) == pytest.approx(2 * optim.automatic_rate("adamw", 32))
    assert optim.automatic_rate("sgd", 128) == pytest.approx(4 * optim.automatic_rate("sgd", 32))


def test_an_unknown_optimiser_is_refused():
    with pytest.raises(UsageError, match="optimiser"):
        optim.make_optimiser([], [nn.Parameter(torch.ones(1))], OptimRecipe(name="adamv"), 32)


@given(st.sampled_from(list(optim.SCHEDULES)), st.floats(0, 1), st.floats(0, 0.9))
def test_a_share_of_the_rate_is_between_nothing_and_all(schedule, fraction, warm_up):
    assert 0 <= optim.factor(schedule, fraction, warm_up) <= 1 + 1e-9


def test_schedules_warm_up_and_end_as_they_should():
    assert optim.factor("cosine", 0.0, 0.1) < 0.02
    assert optim.factor("cosine", 0.1, 0.1) == pytest.approx(1.0)
    assert optim.factor("cosine", 0.55, 0.1) == pytest.approx(0.5)
    assert optim.factor("cosine", 1.0, 0.1) == pytest.approx(0.0)
    assert optim.factor("linear", 0.55, 0.1) == pytest.approx(0.5)
    assert optim.factor("constant", 1.0, 0.1) == 1.0
    assert 0 < optim.factor("one-cycle", 1.0, 0.3) < 0.001


def test_the_average_is_of_the_last_steps_however_many_there_were():
    """With a large decay a step's share is what it takes, times what each later one keeps."""
    net = nn.Linear(1, 1)
    average, steps, shares = optim.Average(net, 0.9999), 400, []
    for step in range(steps):
        with torch.no_grad():
            net.weight.fill_(float(step))
        average.update(step)
        shares = [s * (step + 1) / (step + 4) for s in shares] + [3 / (step + 4)]
    assert sum(shares[steps // 3 :]) == pytest.approx(1 - 1 / 27, abs=0.005)  # (1/3)^3 is from the first third
    mean = sum(step * share for step, share in enumerate(shares)) / sum(shares)
    assert mean == pytest.approx(0.75 * steps, rel=0.01)
    assert float(average.values["weight"]) == pytest.approx(sum(k * s for k, s in enumerate(shares)), rel=1e-3)


def test_the_average_is_exponential_where_the_decay_says_less():
    net = nn.BatchNorm1d(2)
    net.requires_grad_(True)
    average = optim.Average(net, 0.9)
    expected = net.weight.detach().clone()
    for step in range(30):
        with torch.no_grad():
            net.weight.fill_(float(step))
            net.running_mean.fill_(float(step))
        average.update(step)
        keep = min(0.9, (1 + step) / (4 + step))
        expected = keep * expected + (1 - keep) * step
    torch.testing.assert_close(average.values["weight"], expected)
    assert math.isclose(float(average.values["running_mean"][0]), float(expected[0]) - 0, abs_tol=1.1)


def test_only_what_learns_is_copied_and_put_back():
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    net[0].requires_grad_(False)
    kept = optim.copy_of(net)
    assert set(kept) == {"1.weight", "1.bias", "1.running_mean", "1.running_var", "1.num_batches_tracked"}
    with torch.no_grad():
        net[1].weight.fill_(7)
        net[0].weight.fill_(7)
    optim.put(net, kept)
    assert net[1].weight[0].item() == 1
    assert net[0].weight[0, 0].item() == 7
