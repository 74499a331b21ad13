"""What leaves the workshop is what was trained: every kind of network, both exporters, any batch, any machine."""

import copy
import functools
import re
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from fieldmark.errors import FieldmarkError, UsageError
from fieldmark.field.runtime import compile_engine
from fieldmark.field.runtime.careful import CarefulEngine
from fieldmark.field.tasks import TaskFacts, get_task
from fieldmark.workshop.export import Parity, check_parity, export_onnx, set_weights
from fieldmark.workshop.export import onnx as room
from fieldmark.workshop.export.onnx import EXPORTERS, network_logits
from fieldmark.workshop.models import Network, create_backbone
from fieldmark.workshop.models.attention import HEADS, make_pooling
from fieldmark.workshop.models.network import OUTPUTS
from fieldmark.workshop.train.finish import parity_facts
from tests.making import smooth
from tests.training import small_swin

SIZE = 64
NETS = ("test_resnet", "test_efficientnet", "test_convnext", "test_vit", "swin")
N_CLASSES = 7
TASK, FACTS = get_task("classify"), TaskFacts(tuple("abcdefg"))


@functools.cache
def network(name: str) -> Network:
    """A network with random weights and a head that spreads its logits; every output varies over pictures."""
    torch.manual_seed(0)
    backbone = small_swin(SIZE) if name == "swin" else create_backbone(name, "none", SIZE)
    made = Network(backbone, N_CLASSES).eval().requires_grad_(False)
    with torch.inference_mode():
        embedding = made(torch.from_numpy(pictures(32)))[2]
    scale = (embedding - embedding.mean(0)).std() + 1e-6
    made.head.weight.normal_(0, float(1 / scale / embedding.shape[1] ** 0.5))
    made.head.bias.copy_(-(embedding.mean(0) @ made.head.weight.T))
    return made


@functools.cache
def exported(name: str, exporter: str = "trace") -> bytes:
    return export_onnx(network(name), (SIZE, SIZE), exporter)


@functools.cache
def pictures(count: int) -> np.ndarray:
    rng = np.random.default_rng(count)
    noise = rng.normal(0, 25, (count, SIZE, SIZE, 3))
    return np.uint8(np.clip(np.stack([smooth(SIZE, SIZE, i) for i in range(count)]) + noise, 0, 255))


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("exporter", EXPORTERS)
def test_every_head_leaves_as_it_is_for_any_batch(head, exporter):
    torch.manual_seed(0)
    made = Network(create_backbone("test_resnet", "none", SIZE), N_CLASSES)
    made.set_pooling(make_pooling(head, made.backbone.n_features, n_maps=2, hidden=8))
    torch.nn.init.normal_(made.head.weight)
    onnx_bytes = export_onnx(made.eval().requires_grad_(False), (SIZE, SIZE), exporter)
    for batch in (1, 5):
        found = compile_engine(onnx_bytes, "f32").run(pictures(batch), OUTPUTS)
        with torch.inference_mode():
            expected = made(torch.from_numpy(pictures(batch)))
        for output, value in zip(OUTPUTS, expected, strict=True):
            np.testing.assert_allclose(found[output], value, atol=1e-4 * max(1.0, float(value.abs().max())))


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("batch", [1, 5])
def test_every_output_of_any_batch_is_torchs(name, batch):
    seen = pictures(batch)
    found = compile_engine(exported(name), "f32").run(seen, OUTPUTS)
    with torch.inference_mode():
        expected = network(name)(torch.from_numpy(seen))
    for output, value in zip(OUTPUTS, expected, strict=True):
        assert found[output].shape == tuple(value.shape)
        scale = max(1.0, float(value.abs().max()))
        assert np.abs(found[output] - value.numpy()).max() / scale < 1e-4, output


@pytest.mark.parametrize("name", NETS)
def test_decisions_at_the_precision_that_a_bundle_uses_are_torchs(name):
    known, new = pictures(128), pictures(600)
    parity = check_parity(network(name), exported(name), known, "auto", TASK, FACTS)
    assert parity.pictures == 128
    assert parity.f32_difference < 1e-4
    fast = compile_engine(exported(name), parity_facts(parity)["precision"])  # float32 where parity does not hold
    margins = partial(TASK.margins, facts=FACTS)
    careful = CarefulEngine(fast, lambda: compile_engine(exported(name), "f32"), parity.recheck_margin, margins)
    decided = careful.run(new, ("logits",))["logits"].argmax(1)
    agreement = (decided == network_logits(network(name), new).argmax(1)).mean()
    assert len(set(decided.tolist())) > 2
    assert agreement >= 0.995


@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
def test_both_exporters_give_one_function(name):
    seen = pictures(5)
    logits = [
        compile_engine(exported(name, exporter), "f32").run(seen, ("logits",))["logits"] for exporter in EXPORTERS
    ]
    np.testing.assert_allclose(logits[0], logits[1], atol=1e-4 * max(1, np.abs(logits[0]).max()))


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_the_bytes_repeat_and_name_no_place_of_this_machine(exporter):
    one = exported("test_resnet", exporter)
    assert one == export_onnx(network("test_resnet"), (SIZE, SIZE), exporter)
    for secret in (str(Path(room.__file__).parent), f"{Path.home()}/", "site-packages", ".py"):
        assert secret.encode() not in one, secret


def test_input_and_outputs_are_those_of_the_contract():
    model = onnx.load_from_string(exported("test_resnet"))
    onnx.checker.check_model(model)
    (given,) = model.graph.input
    assert given.name == "pictures"
    assert given.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert [d.dim_value for d in given.type.tensor_type.shape.dim][1:] == [SIZE, SIZE, 3]
    assert not given.type.tensor_type.shape.dim[0].dim_value
    assert [o.name for o in model.graph.output] == list(OUTPUTS)


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_head_and_exponent_are_set_by_name_afterwards(exporter):
    made = copy.deepcopy(network("test_resnet"))
    assert float(made.power.exponent) == 1.0  # as it was before the export
    made.head.weight.normal_(0, 1)
    made.head.bias.fill_(2)
    seen = pictures(3)
    for exponent in (1.0, 0.5):
        made.power.exponent.fill_(exponent)
        state = made.state_dict()
        names = ("head.weight", "head.bias", "power.exponent")
        after = set_weights(exported("test_resnet", exporter), {n: state[n].numpy() for n in names})
        found = compile_engine(after, "f32").run(seen, ("logits",))["logits"]
        np.testing.assert_allclose(found, network_logits(made, seen), rtol=1e-4, atol=1e-4)


def test_weights_of_unknown_name_or_another_shape_are_refused():
    with pytest.raises(KeyError):
        set_weights(exported("test_resnet"), {"heads.weight": np.zeros(3)})
    with pytest.raises(ValueError, match=re.escape("head.bias is (7,) in the model, not (8,)")):
        set_weights(exported("test_resnet"), {"head.bias": np.zeros(8)})


def test_a_model_that_is_not_the_network_does_not_leave_the_workshop():
    changed = set_weights(exported("test_resnet"), {"head.bias": np.full(N_CLASSES, 3.0)})
    with pytest.raises(FieldmarkError, match="disagree"):
        check_parity(network("test_resnet"), changed, pictures(5), "auto", TASK, FACTS)


def test_a_precision_whose_decisions_differ_is_not_used():
    assert parity_facts(Parity(100, 0.0, "bf16", 0.99, 0.1, 0.0))["precision"] == "f32"
    assert parity_facts(Parity(100, 0.0, "bf16", 0.995, 0.1, 0.0))["precision"] == "auto"


class Fails(torch.nn.Module):
    n_maps = 1

    def forward(self, features):
        print("the exporter would print this")
        if torch.jit.is_tracing() or torch.compiler.is_compiling():
            raise RuntimeError("no such operator\nand a long story")
        return features.new_full((features.shape[0], 1, *features.shape[2:]), 1.0)


def test_what_cannot_be_exported_is_one_sentence_and_prints_nothing(capfd):
    made = Network(create_backbone("test_resnet", "none", 32), 3).eval()
    made.attention = Fails()
    with pytest.raises(FieldmarkError, match="cannot be exported") as caught:
        export_onnx(made, (32, 32), "trace")
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().out == ""


def test_a_failed_trace_prints_no_graph_and_the_other_exporter_takes_over(capfd):
    made = Network(create_backbone("test_vit4", "none", 32), 3).eval()  # its RMS norm is not in the tracer's opset
    model = export_onnx(made, (32, 32))
    assert capfd.readouterr().out == ""
    seen = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.uint8)
    found = compile_engine(model, "f32").run(seen, ("logits",))["logits"]
    np.testing.assert_allclose(found, network_logits(made, seen), rtol=1e-3, atol=1e-4)


def test_an_unknown_exporter_or_precision_is_refused():
    with pytest.raises(UsageError):
        check_parity(network("test_resnet"), exported("test_resnet"), pictures(5), "fp4", TASK, FACTS)
