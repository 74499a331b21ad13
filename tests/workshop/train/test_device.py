"""Where training runs."""

import pytest
import torch

from fieldmark.errors import UsageError
from fieldmark.workshop.train.device import choose_device


@pytest.mark.parametrize("there", [True, False])
def test_auto_is_cuda_where_there_is_one(monkeypatch, there):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert choose_device("auto").type == ("cuda" if there else "cpu")
    assert choose_device("cpu").type == "cpu"


def test_a_device_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="--device cpu"):
        choose_device("cuda")
    with pytest.raises(UsageError, match="auto, cpu or cuda"):
        choose_device("gpu")
