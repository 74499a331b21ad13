"""What is learned at every position, recomputed."""

import numpy as np
import torch

from fieldmark.workshop.learn.sequence import NextCode, NextValues


def test_the_error_of_a_code_is_its_surprise():
    logits, targets = torch.randn(3, 2, 5), torch.tensor([[0, 1], [2, 3], [4, 0]])
    expected = -torch.log_softmax(logits, -1).gather(-1, targets[..., None])[..., 0]
    torch.testing.assert_close(NextCode().errors(logits, targets), expected)
    torch.testing.assert_close(NextCode().scores(logits.bfloat16(), targets), expected, atol=0.05, rtol=0.05)


def test_logits_of_used_codes_alone_are_told_by_their_number():
    logits, targets = torch.randn(3, 2, 2), torch.tensor([[7, 9], [9, 9], [7, 7]])
    expected = NextCode().errors(logits, torch.tensor([[0, 1], [1, 1], [0, 0]]))
    torch.testing.assert_close(NextCode([7, 9]).errors(logits, targets), expected)


def test_the_error_of_values_is_hubers_over_those_that_are_known():
    outputs = torch.tensor([[[0.0, 0.0]], [[3.0, 1.0]]], requires_grad=True)
    targets = torch.tensor([[[0.5, float("nan")]], [[0.0, 1.5]]])
    errors = NextValues().errors(outputs, targets)
    np.testing.assert_allclose(errors.detach().numpy(), [[0.125], [(2.5 + 0.125) / 2]])
    errors.sum().backward()
    assert torch.isfinite(outputs.grad).all()
    assert outputs.grad[0, 0, 1] == 0
    np.testing.assert_allclose(NextValues().scores(outputs, targets).detach().numpy(), [[0.5], [1.75]])


def test_a_position_without_any_value_costs_nothing_and_is_not_scored():
    outputs, targets = torch.ones(1, 1, 2), torch.full((1, 1, 2), float("nan"))
    assert NextValues().errors(outputs, targets).item() == 0
    assert torch.isnan(NextValues().scores(outputs, targets)).all()
