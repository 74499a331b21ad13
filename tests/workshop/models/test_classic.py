"""The classics: what they were described as, their sizes, and that each can be exported and learns."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from fieldmark.errors import UsageError, WeightsError
from fieldmark.field.runtime import compile_engine
from fieldmark.workshop.export import export_onnx
from fieldmark.workshop.learn.classify import Classify
from fieldmark.workshop.learn.losses import negative_log_likelihood
from fieldmark.workshop.models import Network, create_backbone
from fieldmark.workshop.models.classic import NETWORKS, AlexNet, AttentionCnn, AttentionNet, ConvNet, LeNet5, PoolNet
from fieldmark.workshop.recipe import load_recipe

SMALL = [name for name, maker in NETWORKS.items() if maker.size < 64]


@pytest.fixture(autouse=True)
def _one_thread():
    """Threads that wait for each other are slow where others work beside them, and these networks are small."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def network(name: str, classes: int = 10, size: int = 0) -> Network:
    torch.manual_seed(0)
    return Network(create_backbone(name, "none", size), classes).eval()


def count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_alexnet_has_the_published_count_with_1000_classes():
    with torch.device("meta"):
        assert count(network("alexnet", 1000)) == count(network("alexnet_lrn", 1000)) == 61_100_840


def test_lenet5_has_the_counts_of_its_description():
    body = LeNet5(28)
    counts = {name: count(part) for name, part in body.named_children()}
    assert counts["s2"] == 12  # a coefficient and a bias for each of 6 maps
    assert counts["s4"] == 32
    assert counts["c5"] == 48_120
    assert counts["f6"] == 10_164
    assert counts["c3"] == (6 * 25 + 1) * 16  # every map sees all six


def test_lenet5_subsamples_by_the_mean_times_a_coefficient():
    body, x = LeNet5(28), torch.randn(2, 6, 4, 4)
    with torch.no_grad():
        body.s2.coefficient.uniform_(-1, 1)
        body.s2.bias.uniform_(-1, 1)
        found = body.s2(x)[1, 3, 1, 0]
    by_hand = x[1, 3, 2:4, 0:2].mean() * body.s2.coefficient[3, 0, 0] + body.s2.bias[3, 0, 0]
    by_hand = by_hand.detach()
    assert float(found) == pytest.approx(float(by_hand), abs=1e-6)


def test_pooling_as_a_function_and_as_a_module_are_one_function():
    as_function, as_module = ConvNet(28).eval(), PoolNet(28).eval()
    as_module.load_state_dict(as_function.state_dict())
    x = torch.randn(3, 3, 28, 28)
    assert torch.equal(as_function.forward_features(x), as_module.forward_features(x))


def test_log_softmax_with_nll_is_the_loss_that_mnistnet_learns_by():
    logits = network("mnistnet")(torch.randint(0, 256, (4, 28, 28, 3), dtype=torch.uint8))[0]
    target = F.one_hot(torch.tensor([0, 3, 9, 3]), 10).float()
    learner = Classify(tuple("abcdefghij"), load_recipe(None, ["regularise.label_smoothing=0"]))
    expected = negative_log_likelihood(torch.log_softmax(logits, 1), target)
    assert learner.loss([logits], target).item() == pytest.approx(expected.item())


def test_layers_are_of_the_sizes_of_their_descriptions():
    def layers(name):
        kinds = (torch.nn.Conv2d, torch.nn.Linear)
        return [tuple(m.weight.shape) for m in network(name).backbone.body.modules() if isinstance(m, kinds)]

    assert layers("mnistnet") == [(10, 3, 5, 5), (20, 10, 5, 5), (50, 320)]
    assert layers("convnet")[:3] == [(32, 3, 5, 5), (64, 32, 5, 5), (128, 64, 3, 3)]
    assert layers("attentioncnn") == [(64, 3, 3, 3), (128, 64, 3, 3), (256, 128, 3, 3), (1, 256, 1, 1)]


def test_attention_of_positions_is_softmax_of_scaled_products():
    body, x = AttentionNet(28).eval(), torch.randn(2, 20, 4, 4)
    with torch.no_grad():
        found = body.attend(x)[1].flatten(1).numpy()
        q, k, v = ((conv(x)[1].flatten(1).T.double()).numpy() for conv in (body.query, body.key, body.value))
    for i in range(16):
        e = np.exp([q[i] @ k[j] / np.sqrt(20) for j in range(16)])
        by_hand = x[1].flatten(1)[:, i].numpy() + (e / e.sum()) @ v
        assert found[:, i] == pytest.approx(by_hand, abs=1e-5)


def test_the_average_of_what_attentioncnn_gives_is_the_attended_sum():
    body, x = AttentionCnn(32).eval(), torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        found = body.forward_features(x)
        plain = x
        for conv in body.convs:
            plain = F.max_pool2d(F.relu(conv(plain)), 2)
        scores = np.tanh(body.score(plain)[1, 0].double().numpy())
    assert found.shape == (2, 256, 4, 4)
    weights = np.exp(scores) / np.exp(scores).sum()
    by_hand = (plain[1].numpy() * weights).sum((1, 2))
    assert found[1].mean((1, 2)).numpy() == pytest.approx(by_hand, abs=1e-5)


def test_rownet_reads_rows_from_top_to_bottom():
    body, x = network("rownet").backbone.body, torch.randn(1, 3, 28, 28)
    with torch.no_grad():
        h = c = torch.zeros(1, 128)
        cell = torch.nn.LSTMCell(84, 128)
        cell.load_state_dict({key.removesuffix("_l0"): value for key, value in body.lstm.state_dict().items()})
        for row in range(28):
            h, c = cell(x[:, :, row].flatten(1), (h, c))
        assert torch.allclose(body.forward_features(x)[:, :, 0, 0], h, atol=1e-5)


def test_local_response_norm_stands_after_the_first_two_rectifiers():
    kinds = [type(part).__name__ for part in AlexNet(224, response_norm=True).features]
    assert kinds[:8] == ["Conv2d", "ReLU", "LocalResponseNorm", "MaxPool2d"] * 2


def test_local_response_norm_is_by_the_formula():
    """b_i = a_i / (2 + 1e-4 sum_j a_j^2)^0.75, j the five channels around i (Krizhevsky et al. 2012, section 3.3)."""
    norm, a = AlexNet(224, response_norm=True).features[2], 30 * torch.randn(2, 9, 3, 3)
    found = norm(a)
    for i in range(9):
        around = (a[:, max(0, i - 2) : i + 3] ** 2).sum(1)
        assert torch.allclose(found[:, i], a[:, i] / (2 + 1e-4 * around) ** 0.75, rtol=1e-4)


def test_published_weights_of_alexnet_come_with_imagenets_statistics(tmp_path):
    from safetensors.torch import save_file
    from torchvision.models import alexnet

    made = alexnet()
    save_file(made.state_dict(), tmp_path / "alexnet.safetensors")
    found = create_backbone("alexnet", str(tmp_path / "alexnet.safetensors"))
    assert (found.mean, found.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    loaded = found.body.state_dict()
    assert loaded.keys() == made.state_dict().keys() - {"classifier.6.weight", "classifier.6.bias"}
    assert all(torch.equal(values, made.state_dict()[name]) for name, values in loaded.items())


def test_weights_that_lack_a_layer_or_are_for_other_pictures_are_refused(tmp_path):
    from safetensors.torch import save_file

    small = create_backbone("alexnet", "none", 32).body.state_dict()
    save_file(small, tmp_path / "small.safetensors")
    save_file({k: v for k, v in small.items() if not k.startswith("classifier.4")}, tmp_path / "part.safetensors")
    with pytest.raises(WeightsError, match=r"lack classifier.4.weight$"):
        create_backbone("alexnet", str(tmp_path / "part.safetensors"), 32)
    with pytest.raises(WeightsError, match=r"have shape \(4096, 2304\) for classifier.1.weight"):
        create_backbone("alexnet", str(tmp_path / "small.safetensors"), 64)
    with pytest.raises(WeightsError, match=r"if they are of its form for small pictures, set picture\.size to 64"):
        create_backbone("alexnet", str(tmp_path / "small.safetensors"))


def test_dropout_stays_where_a_network_is_cut():
    from fieldmark.workshop.models.cut import split, trace

    made = network("mnistnet")
    cuttable = trace(made)
    _, tail = split(made, cuttable, cuttable.names[0])
    rows = torch.randn(2, *_shape_at(made, cuttable, cuttable.names[0]))
    once, again = (tail.train()(rows)[0] for _ in range(2))
    assert not torch.equal(once, again)


def _shape_at(made, cuttable, name):
    from fieldmark.workshop.models.cut import split

    prefix, _ = split(made, cuttable, name)
    side = made.backbone.size
    return prefix(torch.zeros(1, side, side, 3, dtype=torch.uint8)).shape[1:]


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("size", [0, 32])
def test_small_networks_are_exported_and_give_the_same_numbers(name, size):
    made = network(name, size=size)
    side = made.backbone.size
    pictures = np.random.default_rng(0).integers(0, 256, (3, side, side, 3), np.uint8)
    with torch.no_grad():
        expected = made(torch.from_numpy(pictures))[0].numpy()
    found = compile_engine(export_onnx(made, (side, side)), "f32").run(pictures, ("logits",))["logits"]
    assert found == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("name", SMALL)
def test_small_networks_learn_a_batch_by_heart(name):
    made = network(name)
    side = made.backbone.size
    pictures = torch.randint(0, 256, (8, side, side, 3), dtype=torch.uint8)
    optimiser = torch.optim.Adam(made.parameters(), 3e-3)
    losses = []
    for _ in range(30):
        loss = F.cross_entropy(made(pictures)[0], torch.arange(8))
        losses.append(loss.item())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert np.mean(losses[-3:]) < 0.75 * losses[0]


def test_without_pretrained_weights_the_scratch_recipe_is_named():
    with pytest.raises(WeightsError, match="--recipe scratch"):
        create_backbone("lenet5")


def test_pictures_too_small_for_a_network_are_refused():
    with pytest.raises(UsageError, match="mnistnet does not take 8 px"):
        create_backbone("mnistnet", "none", 8)


def test_an_unknown_name_near_a_classic_is_told():
    with pytest.raises(UsageError, match="did you mean lenet5"):
        create_backbone("lenet", "none")
