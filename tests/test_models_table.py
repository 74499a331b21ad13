"""The shipped table of backbones: counted again, against published figures, and printed without torch."""

import json
import random
import subprocess
import sys
from importlib.resources import files

import pytest

from fieldmark.errors import UsageError
from fieldmark.workshop.models import create_backbone
from fieldmark.workshop.models.weights import EMBEDDED

TABLE = json.loads((files("fieldmark") / "models.json").read_text(encoding="utf-8"))
ROWS = {row["name"]: row for row in TABLE}
PUBLISHED = {  # torchvision's and timm's model cards
    "alexnet": (61_100_840, 224),
    "resnet18": (11_689_512, 224),
    "resnet50": (25_557_032, 224),
    "vgg16": (138_357_544, 224),
    "densenet121": (7_978_856, 224),
    "inception_v3": (23_834_568, 299),  # 27,161,264 with the auxiliary classifier, which only training uses
    "tf_efficientnet_lite0": (4_652_008, 224),
    "vit_base_patch16_224": (86_567_656, 224),
    "convnext_tiny": (28_589_128, 224),
    "mobilenetv3_large_100": (5_483_032, 224),
}
PAPERS = {
    "resnet50": "1512.03385",
    "seresnet50": "1709.01507",
    "vgg16": "1409.1556",
    "densenet121": "1608.06993",
    "efficientnet_b0": "1905.11946",
    "tf_efficientnetv2_s": "2104.00298",
    "mobilenetv2_100": "1801.04381",
    "convnextv2_tiny": "2301.00808",
    "vit_base_patch16_224": "2010.11929",
    "swin_tiny_patch4_window7_224": "2103.14030",
}
OURS = [name for name, row in ROWS.items() if row["source"].startswith("fieldmark: ")]
SAMPLE = random.Random(20).sample(
    [name for name, row in ROWS.items() if row["parameters"] < 100e6 and name not in OURS], 10
)


def printed(*arguments: str) -> subprocess.CompletedProcess:
    """What `fieldmark models` prints, and last the modules that it imported."""
    code = (
        "import sys; sys.argv = ['fieldmark', 'models', *sys.argv[1:]]\n"
        "from fieldmark.__main__ import main\n"
        "try: main()\n"
        "finally: print(*sorted(sys.modules), file=sys.stderr)\n"
    )
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)


def test_the_rows_are_sorted_and_have_the_keys_of_the_contract():
    assert [row["name"] for row in TABLE] == sorted(ROWS)
    assert len(TABLE) > 1000
    for row in TABLE:
        assert list(row) == ["name", "parameters", "input", "source", "pretrained"]
        assert isinstance(row["parameters"], int)
        assert row["parameters"] > 10_000
        assert 28 <= row["input"] <= 1024
        assert row["source"].startswith(("timm: ", "fieldmark: "))
        assert row["pretrained"] in ("embedded", "hub", None)


def test_the_file_has_one_row_a_line():
    lines = (files("fieldmark") / "models.json").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line.removesuffix(",")) for line in lines[1:-1]] == TABLE


def test_the_embedded_weights_are_those_that_we_have():
    assert {row["name"] for row in TABLE if row["pretrained"] == "embedded"} == set(EMBEDDED)


@pytest.mark.parametrize("name", PUBLISHED)
def test_counts_are_the_published_ones(name):
    assert (ROWS[name]["parameters"], ROWS[name]["input"]) == PUBLISHED[name]


@pytest.mark.parametrize("name", PAPERS)
def test_the_paper_is_the_architecture_s(name):
    assert ROWS[name]["source"].endswith(f", arXiv:{PAPERS[name]}")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SAMPLE)
def test_a_row_is_what_timm_says_and_a_backbone_of_ours(name):
    import timm
    import torch

    config = timm.get_pretrained_cfg(name, allow_unregistered=True)
    with torch.device("meta"):
        network = timm.create_model(name)
        backbone = create_backbone(name, "none")
    assert sum(p.numel() for p in network.parameters()) == ROWS[name]["parameters"]
    assert config.input_size[-1] == ROWS[name]["input"]
    assert (ROWS[name]["pretrained"] == "hub") == (bool(config.hf_hub_id) and name not in EMBEDDED)
    assert backbone.grid_hw > (1, 1)


def test_our_own_networks_are_all_listed_and_counted():
    import torch

    from fieldmark.workshop.models import Network
    from fieldmark.workshop.models.classic import NETWORKS

    assert sorted(NETWORKS) == OURS
    for name, maker in NETWORKS.items():
        with torch.device("meta"):
            network = Network(create_backbone(name, "none"), 1000)
        assert sum(p.numel() for p in network.parameters()) == ROWS[name]["parameters"]
        assert ROWS[name]["input"] == maker.size == network.backbone.size


@pytest.mark.parametrize("name", ["coat_tiny", "pit_s_224", "qwen3_vit_88m_enc", "volo_d1_224"])
def test_a_network_without_features_on_a_grid_is_left_out_and_refused(name):
    import torch

    assert name not in ROWS
    with torch.device("meta"), pytest.raises(UsageError, match=name):
        create_backbone(name, "none")


def test_a_network_that_takes_no_larger_pictures_gets_its_own_size():
    import torch

    with torch.device("meta"):
        assert create_backbone("halonet26t", "none").size == ROWS["halonet26t"]["input"] == 256
        with pytest.raises(UsageError, match="does not take 320 px pictures"):
            create_backbone("halonet26t", "none", 320)


def test_the_verb_prints_the_table_without_torch():
    done = printed("--json")
    lines = done.stdout.splitlines()
    assert len(lines) == 1
    assert json.loads(lines[0]) == {"models": TABLE}
    assert not set(done.stderr.split()) & {"torch", "timm", "numpy", "openvino", "PIL"}


def test_the_verb_prints_rows_that_hold_all_words():
    lines = printed("lite", "tf_").stdout.splitlines()
    names = [line.split()[0] for line in lines]
    assert names == [name for name in sorted(ROWS) if "lite" in name and "tf_" in name]
    assert {"tf_efficientnet_lite0", "tf_efficientnet_lite4"} <= set(names)
    first = next(line for line in lines if line.startswith("tf_efficientnet_lite0 "))
    assert first.split() == [
        *("tf_efficientnet_lite0", "4.65", "M", "224", "px", "embedded"),
        *("timm:", "efficientnet,", "arXiv:1905.11946"),
    ]
    assert len({line.index(" px ") for line in lines}) == 1  # a column


def test_the_verb_prints_nothing_for_a_word_in_no_name():
    assert printed("no-such-network").stdout == ""
