"""Every head against its formula, written out position by position."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from fieldmark.errors import UsageError
from fieldmark.workshop.models.attention import HEADS, WITHOUT_MAPS, GeM, Joined, make_pooling, overlap

N, FEATURES, HEIGHT, WIDTH, MAPS, HIDDEN = 3, 6, 4, 5, 2, 7
ATTENDING = [name for name in HEADS if name not in WITHOUT_MAPS]


@pytest.fixture
def features():
    return torch.from_numpy(np.random.default_rng(0).normal(1, 1, (N, FEATURES, HEIGHT, WIDTH)))


def head(name, **options):
    """A head whose parameters are all far from zero, in double precision."""
    torch.manual_seed(1)
    made = make_pooling(name, FEATURES, MAPS, HIDDEN, **{"join": False, **options}).double()
    for parameter in made.parameters():
        if name != "gem":
            torch.nn.init.normal_(parameter, std=0.7)
    return made


def linear(layer, vector):
    return layer.weight.detach().numpy() @ vector + layer.bias.detach().numpy()


def softmax(scores):
    grown = np.exp(scores - scores.max())
    return grown / grown.sum()


def additive(made, vectors):
    return [softmax(np.array([w @ np.tanh(linear(made.hidden, f)) for f in vectors])) for w in queries(made)]


def gated(made, vectors):
    def score(w, f):
        return w @ (np.tanh(linear(made.hidden, f)) / (1 + np.exp(-linear(made.gate, f))))

    return [softmax(np.array([score(w, f) for f in vectors])) for w in queries(made)]


def dot(made, vectors):
    keys = np.array([linear(made.key, f).reshape(MAPS, HIDDEN) for f in vectors])
    return [softmax(keys[:, k] @ queries(made)[k] / HIDDEN**0.5) for k in range(MAPS)]


def self_attention(made, vectors):
    keys = np.array([linear(made.key, f).reshape(MAPS, HIDDEN) for f in vectors])
    asks = np.array([linear(made.query, f).reshape(MAPS, HIDDEN) for f in vectors])
    return [np.mean([softmax(keys[:, k] @ q / HIDDEN**0.5) for q in asks[:, k]], 0) for k in range(MAPS)]


def queries(made):
    return made.query.detach().numpy()


FORMULAS = {"additive": additive, "gated": gated, "dot": dot, "self": self_attention}


def test_every_attending_head_has_its_formula_here():
    assert sorted(FORMULAS) == sorted(ATTENDING)


@pytest.mark.parametrize("name", ATTENDING)
def test_maps_and_pooled_features_follow_the_formula(name, features):
    made = head(name)
    pooled, maps = made(features)
    for n in range(N):
        vectors = [features[n, :, y, x].numpy() for y in range(HEIGHT) for x in range(WIDTH)]
        for k, weights in enumerate(FORMULAS[name](made, vectors)):
            np.testing.assert_allclose(maps[n, k].detach().flatten(), weights, atol=1e-12)
            summed = sum(a * f for a, f in zip(weights, vectors, strict=True))
            np.testing.assert_allclose(pooled[n, FEATURES * k : FEATURES * (k + 1)].detach(), summed, atol=1e-12)


def test_dot_is_torchs_own_attention(features):
    made = head("dot")
    values = features.flatten(2).transpose(1, 2)[:, None].expand(-1, MAPS, -1, -1)
    keys = made.key(features.flatten(2).transpose(1, 2)).unflatten(2, (MAPS, HIDDEN)).transpose(1, 2)
    expected = F.scaled_dot_product_attention(made.query[None, :, None].expand(N, -1, -1, -1), keys, values)
    torch.testing.assert_close(made(features)[0], expected.flatten(1))


def test_self_attention_is_torchs_own_then_averaged(features):
    made = head("self")
    values = features.flatten(2).transpose(1, 2)
    keys = made.key(values).unflatten(2, (MAPS, HIDDEN)).transpose(1, 2)
    asks = made.query(values).unflatten(2, (MAPS, HIDDEN)).transpose(1, 2)
    expected = F.scaled_dot_product_attention(asks, keys, values[:, None].expand(-1, MAPS, -1, -1)).mean(2)
    torch.testing.assert_close(made(features)[0], expected.flatten(1))


@pytest.mark.parametrize("p", [1.0, 3.0, 5.5])
def test_the_generalised_mean_lies_between_average_and_maximum(features, p):
    positive = features.abs() + 0.1
    pooled, maps = GeM(p).double()(positive)
    np.testing.assert_allclose(pooled.detach(), (positive.numpy() ** p).mean((2, 3)) ** (1 / p))
    assert (pooled >= positive.mean((2, 3)) - 1e-9).all()
    assert (pooled <= positive.amax((2, 3)) + 1e-9).all()
    torch.testing.assert_close(maps, torch.full_like(maps, 1 / (HEIGHT * WIDTH)))


@pytest.mark.parametrize(("p", "used"), [(0.2, 1.0), (50.0, 6.0)])
def test_the_exponent_stays_in_its_bounds_and_negative_features_count_as_nothing(features, p, used):
    expected = (np.maximum(features.numpy(), 1e-6) ** used).mean((2, 3)) ** (1 / used)
    np.testing.assert_allclose(GeM(p).double()(features)[0].detach(), expected)
    assert (features < 0).any()


@pytest.mark.parametrize("name", HEADS)
def test_one_picture_never_sees_another(name, features):
    made = head(name)
    together, _ = made(features)
    alone = torch.cat([made(features[n : n + 1])[0] for n in range(N)])
    torch.testing.assert_close(together, alone)


@pytest.mark.parametrize("name", HEADS)
def test_where_things_are_does_not_matter_and_maps_go_with_them(name, features):
    made = head(name)
    order = torch.randperm(HEIGHT * WIDTH)
    moved = features.flatten(2)[:, :, order].unflatten(2, (HEIGHT, WIDTH))
    (pooled, maps), (pooled_moved, maps_moved) = made(features), made(moved)
    torch.testing.assert_close(pooled, pooled_moved)
    torch.testing.assert_close(maps.flatten(2)[:, :, order], maps_moved.flatten(2))


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("join", [True, False])
def test_maps_sum_to_one_and_everything_learns(name, join, features):
    made = head(name, join=join)
    pooled, maps = made(features)
    assert pooled.shape == (N, FEATURES * made.n_maps)
    assert maps.shape == (N, made.n_maps, HEIGHT, WIDTH)
    torch.testing.assert_close(maps.sum((2, 3)), torch.ones_like(maps[:, :, 0, 0]))
    if name == "average":
        return
    (pooled**2).sum().backward()
    for parameter_name, parameter in made.named_parameters():
        if not parameter_name.endswith("key.bias"):  # the same for all positions: the softmax does not see it
            assert parameter.grad.abs().max() > 0, parameter_name


@pytest.mark.parametrize("name", ATTENDING)
def test_joined_to_the_average_the_first_map_is_uniform(name, features):
    made = head(name, join=True)
    assert isinstance(made, Joined)
    pooled, maps = made(features)
    torch.testing.assert_close(pooled[:, :FEATURES], features.mean((2, 3)))
    torch.testing.assert_close(maps[:, 0], torch.full_like(maps[:, 0], 1 / (HEIGHT * WIDTH)))
    torch.testing.assert_close(pooled[:, FEATURES:], made.attended(features)[0])


@pytest.mark.parametrize("name", ATTENDING)
def test_a_new_head_looks_nearly_everywhere_alike(name, features):
    torch.manual_seed(0)
    maps = make_pooling(name, FEATURES, MAPS, 128, join=False)(features.float())[1] * HEIGHT * WIDTH
    assert (maps - 1).abs().max() < 0.5


def test_an_unknown_head_names_the_near_ones():
    with pytest.raises(UsageError, match="additive"):
        make_pooling("aditive", FEATURES)


@given(st.integers(2, 5), st.integers(0, 10))
def test_overlap_is_the_mean_cosine_of_two_maps(n_maps, seed):
    maps = np.random.default_rng(seed).random((2, n_maps, 3, 4))
    flat = maps.reshape(2, n_maps, 12)
    cosines = [
        a @ b / np.linalg.norm(a) / np.linalg.norm(b)
        for picture in flat
        for i, a in enumerate(picture)
        for b in picture[i + 1 :]
    ]
    assert float(overlap(torch.from_numpy(maps))) == pytest.approx(np.mean(cosines))


def test_maps_that_look_elsewhere_do_not_overlap():
    apart = torch.eye(4).reshape(1, 4, 2, 2)
    assert float(overlap(apart)) == pytest.approx(0)
    assert float(overlap(apart[:, :1].expand(-1, 3, -1, -1))) == pytest.approx(1)
    assert float(overlap(apart[:, :1])) == 0
