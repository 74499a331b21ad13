"""Make `src/fieldmark/models.json`, the table behind `fieldmark models`, from the installed timm.

    python tools/make_models_table.py            write the table (about ten minutes, one thread, no network)
    python tools/make_models_table.py --check    only say what is left out, and why

One row a line, sorted by name, of our own networks and every timm network that `create_backbone` accepts at its
default size. `parameters` are counted on the meta device, with the classifier that timm gives the network (1,000
classes; none for encoders without one). `input` is the side in pixels that timm states. `source` of timm's networks
is its module and the paper of the architecture, the first found of: the docstring of the network's own function,
PAPERS below, its pretrained configuration, the only paper in the docstring of its module. Nothing is random, so the
same timm gives the same bytes.
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models import model_entrypoint

from fieldmark.errors import FieldmarkError
from fieldmark.workshop.models import Network, classic, create_backbone, weights

TABLE = Path(__file__).resolve().parents[1] / "src" / "fieldmark" / "models.json"
ARXIV = re.compile(r"arxiv\.org/(?:abs|pdf)/(\d{4}\.\d{4,5})")

# timm's modules with more than one paper: the first pattern that begins a name decides ("" is the rest of the module).
# The script stops when a paper is not in the docstring of the module.
PAPERS: dict[str, dict[str, str]] = {
    "beit": {"beitv2": "2208.06366", "beit_": "2106.08254"},
    "byoanet": {
        "botnet|sebotnet": "2101.11605",
        "lambda": "2102.08602",
        "halo|sehalo|eca_halo": "2103.12731",
    },
    "byobnet": {
        "gernet": "2006.14090",
        "repvgg": "2101.03697",
        "mobileone": "2206.04040",
        "regnetz": "2103.06877",
        "resnet.*_(clip|mlip)": "2103.00020",
    },
    "convnext": {"convnextv2": "2301.00808", "convnext": "2201.03545"},
    "cspnet": {"cs": "1911.11929", "(se)?darknet": "1804.02767"},
    "davit": {"davit_.*_fl": "2311.06242", "davit": "2204.03645"},
    "dla": {"dla60_res2ne": "1904.01169", "dla": "1707.06484"},
    "edgenext": {"": "2206.10589"},
    "efficientnet": {
        "(tf_|gc_)?efficientnetv2": "2104.00298",
        "(tf_)?efficientnet_cc": "1904.04971",
        "(tf_)?efficientnet_[xh]_": "2102.05610",
        "(tf_)?efficientnet": "1905.11946",
        "(tf_)?mixnet": "1907.09595",
        "mnasnet|semnasnet": "1807.11626",
        "mobilenetv1": "1704.04861",
        "mobilenetv2": "1801.04381",
        "mobilenet_edgetpu": "2204.14007",
        "fbnetc": "1812.03443",
        "spnasnet": "1904.02877",
        "tinynet": "2010.14819",
    },
    "eva": {"eva02": "2303.11331", "eva_": "2211.07636", "vit_.*_rope": "2403.13298", "vit_.*_dinov3": "2508.10104"},
    "fastvit": {"fastvit_mci[012]": "2311.17049", "fastvit_mci": "2508.20691", "fastvit": "2303.14189"},
    "ghostnet": {"ghostnetv3": "2404.11202", "ghostnetv2": "2211.12905", "ghostnet_": "1911.11907"},
    "hiera": {"hiera_.*_abswin": "2311.05613", "hiera": "2306.00989"},
    "hieradet_sam2": {"": "2408.00714"},
    "hrnet": {"": "1908.07919"},
    "inception_resnet_v2": {"": "1602.07261"},
    "inception_v3": {"": "1512.00567"},
    "lowformer": {"lowformer_b": "2409.03460"},
    "maxxvit": {"coatne": "2106.04803", "max": "2204.01697"},
    "metaformer": {"poolformer_": "2111.11418", "": "2210.13452"},
    "mobilenetv3": {
        "fbnetv3": "2006.02049",
        "lcnet": "2109.15099",
        "mobilenetv4": "2404.10518",
        "(tf_)?mobilenetv3": "1905.02244",
    },
    "mobilevit": {"mobilevitv2": "2206.02680", "mobilevit_": "2110.02178"},
    "nfnet": {"nf_": "2101.08692", "(dm_|eca_)?nfnet": "2102.06171"},
    "qwen3_vit": {"": "2511.21631"},
    "regnet": {"regnetz": "2103.06877", "regnet": "2003.13678"},
    "resnet": {
        "resnetblur": "1904.11486",
        "resnetrs": "2103.07579",
        "wide_resnet": "1605.07146",
        "ecaresne": "1910.03151",
        "senet|seresne": "1709.01507",
        "resnext": "1611.05431",
        "resnet": "1512.03385",
    },
    "resnetv2": {"resnetv2_.*_bit": "1912.11370", "": "1603.05027"},
    "sknet": {"": "1903.06586"},
    "swin_transformer": {"swin_s3": "2111.14725", "swin": "2103.14030"},
    "tresnet": {"": "2003.13630"},
    "vision_transformer": {
        "flexivit": "2212.08013",
        "aimv2": "2411.14402",
        "beit3": "2208.10442",
        "vit_d(wee|little|pwee)": "2410.05258",
        "vit_so": "2305.13035",
        "vit_intern": "2412.05271",
        "vit": "2010.11929",
    },
    "vision_transformer_hybrid": {"vit_.*_mci": "2311.17049", "": "2010.11929"},
    "vision_transformer_sam": {"": "2304.02643"},
    "vovnet": {"ese_vovnet": "1911.06667", "vovnet": "1904.09730"},
    "xception_aligned": {"": "1802.02611"},
}


def rows(names: list[str]) -> Iterator[dict[str, Any] | tuple[str, str]]:
    """The row of every network that can be used, or its name and the reason why it cannot."""
    for name in names:
        try:
            with torch.device("meta"):
                create_backbone(name, "none")
                network = timm.create_model(name)
        except FieldmarkError as error:
            yield name, str(error)
            continue
        config = timm.get_pretrained_cfg(name, allow_unregistered=True)
        hub = "hub" if config.hf_hub_id else None
        yield {
            "name": name,
            "parameters": sum(p.numel() for p in network.parameters()),
            "input": int(config.input_size[-1]),
            "source": source(name, config.paper_ids),
            "pretrained": "embedded" if name in weights.EMBEDDED else hub,
        }


def classic_rows() -> Iterator[dict[str, Any]]:
    """The rows of our own networks."""
    for name, maker in classic.NETWORKS.items():
        with torch.device("meta"):
            network = Network(create_backbone(name, "none"), 1000)
        yield {
            "name": name,
            "parameters": sum(p.numel() for p in network.parameters()),
            "input": maker.size,
            "source": f"fieldmark: {maker.source}",
            "pretrained": None,
        }


def source(name: str, paper_ids: str | None) -> str:
    """`timm: MODULE, arXiv:PAPER`; without the paper where none is known to be this architecture's."""
    function = model_entrypoint(name)
    module = function.__module__.rpartition(".")[2]
    of_module = ARXIV.findall(sys.modules[function.__module__].__doc__ or "")
    own, configured = ARXIV.findall(function.__doc__ or ""), re.findall(r"\d{4}\.\d{4,5}", paper_ids or "")
    chosen = next((p for start, p in PAPERS.get(module, {}).items() if re.match(start, name)), None)
    if chosen is not None and chosen not in of_module:
        sys.exit(f"{chosen} is not in the docstring of {function.__module__}; mend PAPERS[{module!r}]")
    only = of_module[0] if len(set(of_module)) == 1 else None
    paper = next((p for p in (*own, chosen, *configured, only) if p), None)
    return f"timm: {module}, arXiv:{paper}" if paper else f"timm: {module}"


def main() -> None:
    """Write the table; what is left out goes to standard error."""
    torch.set_num_threads(1)
    found = list(classic_rows())
    for row in rows(sorted(timm.list_models())):
        if isinstance(row, tuple):
            sys.stderr.write(f"left out {row[0]}: {row[1]}\n")
        else:
            found.append(row)
    lines = [json.dumps(row) for row in sorted(found, key=lambda row: row["name"])]
    if "--check" not in sys.argv[1:]:
        TABLE.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")
    sys.stderr.write(f"{len(found)} networks, with timm {timm.__version__}\n")


if __name__ == "__main__":
    main()
