"""What the loop teaches a recurrent network: gradients of parts are those of the whole, states are carried."""

import numpy as np
import pytest
import torch

from fieldmark.workshop.learn.sequence import NextCode
from fieldmark.workshop.models.recurrent import CharRNN
from fieldmark.workshop.train import reading
from fieldmark.workshop.train.reading import ReadingLesson
from fieldmark.workshop.train.windows import TextWindows

CPU = torch.device("cpu")
CODES = np.random.default_rng(0).integers(0, 256, 4000).astype(np.uint8)


def lesson(parts=1, dropout=0.0, cell="lstm", val=0):
    torch.manual_seed(0)
    network = CharRNN(256, cell, 6, 10, 2)
    made = ReadingLesson(network, TextWindows(CODES, CODES[:val], 8, 6, 0), NextCode(), dropout, CPU, False)
    made.parts = parts
    return made


def gradients(made, batches=2):
    with made.open():
        for number in range(batches):
            made.network.zero_grad()
            torch.manual_seed(number)
            loss = made.loss(made.batch(number, 0.0))
            loss.backward()
    return loss.item(), {name: p.grad.clone() for name, p in made.network.named_parameters()}


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_parts_on_threads_give_the_loss_and_gradients_of_the_whole(cell, dropout):
    one, two = gradients(lesson(1, dropout, cell)), gradients(lesson(3, dropout, cell))
    assert two[0] == pytest.approx(one[0], rel=1e-5)
    for name, gradient in one[1].items():
        torch.testing.assert_close(two[1][name], gradient)


def test_the_gradients_are_torchs_own_and_states_are_carried():
    made = lesson(2)
    found, grads = gradients(made, 2)
    plain = lesson().network
    states = plain.begin(6)
    for number in range(2):
        plain.zero_grad()
        inputs, targets, _ = made.source.windows(number)
        logits, *after = plain(inputs, *states)
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
        loss.backward()
        states = [s.detach() for s in after]
    assert found == pytest.approx(loss.item(), rel=1e-5)
    for name, p in plain.named_parameters():
        torch.testing.assert_close(grads[name], p.grad)
    torch.testing.assert_close(tuple(made.network.carried), tuple(states))


def test_a_fresh_window_forgets_what_was_carried():
    made = lesson()
    with made.open():
        made.loss(made.batch(0, 0.0))
        first = [s.clone() for s in made.network.carried]
        made.loss(made.batch(1, 0.0))
        made.loss(made.batch(0, 0.0))
    torch.testing.assert_close(list(made.network.carried), first)


def test_a_factor_on_the_loss_is_one_on_the_gradients():
    made = lesson(2)
    with made.open():
        made.loss(made.batch(0, 0.0)).backward()
        once = made.network.bias.grad.clone()
        made.network.zero_grad()
        (made.loss(made.batch(0, 0.0)) / 4).backward()
    torch.testing.assert_close(4 * made.network.bias.grad, once)


def test_validation_is_the_mean_surprise_and_there_may_be_none():
    made = lesson(val=900)
    with made.open():
        found = made.score()
        assert lesson().score() is None
    assert found["score"] == -found["loss"]
    network = made.network.eval()
    rows = list(made.source.validation())
    logits, *_ = network(torch.cat([r.inputs for r in rows]), *network.begin(rows[0].inputs.shape[1]))
    targets = torch.cat([r.targets for r in rows])
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
    assert found["loss"] == pytest.approx(expected.item(), rel=1e-4)


def test_parts_are_as_many_as_cores_but_not_too_small(monkeypatch):
    monkeypatch.setattr(reading, "cores", lambda: 8)
    torch.manual_seed(0)
    network = CharRNN(256, "rnn", 2, 2, 1)
    for batch, parts in ((64, 4), (6, 1), (512, 8)):
        source = TextWindows(np.resize(CODES, 200_000), CODES[:0], 8, batch, 0)
        assert ReadingLesson(network, source, NextCode(), 0.0, CPU, False).parts == parts


def test_threads_of_torch_are_as_before_afterwards():
    before = torch.get_num_threads()
    with lesson(2).open():
        pass
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("parts", [1, 2])
def test_gradients_lie_in_memory_as_their_weights_do(cell, parts):
    """What the fused optimisers take for granted."""
    made = lesson(parts, cell=cell)
    gradients(made)
    for p in made.network.parameters():
        assert p.is_contiguous()
        assert p.grad.stride() == p.stride()
