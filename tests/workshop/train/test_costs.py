"""Costs are measured on the network itself."""

import pytest

import tests.training  # noqa: F401 - one thread for torch
from fieldmark.workshop.models import Network, create_backbone
from fieldmark.workshop.models.cut import PICTURES, trace
from fieldmark.workshop.train.costs import profile


def test_every_place_to_cut_has_its_costs():
    network = Network(create_backbone("resnet18", "none", 96), 5).eval()
    cuttable = trace(network)
    found = profile(cuttable, (96, 96), 0.01, False)
    assert list(found.after) == list(found.row_bytes) == list(found.work_after) == list(cuttable.names)
    seconds, work = list(found.after.values()), list(found.work_after.values())
    assert seconds == sorted(seconds, reverse=True)
    assert work == sorted(work, reverse=True)
    assert work[-1] == 0
    assert found.after[cuttable.names[0]] < found.whole
    assert found.row_bytes["layer3.1"] == 2 * 256 * 6 * 6
    assert found.train(PICTURES) > found.train("layer1.0") > found.train("layer3.1")
    assert found.row("layer1.0") < found.row("layer3.1") < 0.01
    again = profile(cuttable, (96, 96), 0.01, False)
    assert again.work_after == found.work_after


def test_multiplications_are_counted_independently():
    network = Network(create_backbone("resnet18", "none", 96), 5).eval()
    found = profile(trace(network), (96, 96), 0.01, False)
    # two 3 x 3 convolutions of 512 channels on 3 x 3 positions in the last block, of all 3 x 3, 7 x 7 and 1 x 1 ones
    last = 2 * 9 * 512 * 512 * 3 * 3

    def block(c_in, c_out, side, strided):
        first = 9 * c_in * c_out * side**2
        return first + 9 * c_out**2 * side**2 + (c_in * c_out * side**2 if strided else 0)

    whole = 49 * 3 * 64 * 48**2 + 2 * block(64, 64, 24, False)
    for c, side in ((128, 12), (256, 6), (512, 3)):
        whole += block(c // 2, c, side, True) + block(c, c, side, False)
    assert found.work_after["layer4.0"] == pytest.approx(last / whole)
