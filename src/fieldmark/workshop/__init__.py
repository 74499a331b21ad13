"""What makes a recogniser: recipe, models, training, export. The only floor that imports torch."""

import os
from importlib.util import find_spec

from fieldmark.errors import MissingExtraError

if find_spec("torch") is None or find_spec("timm") is None:
    raise MissingExtraError("training", "train")

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
# torch's threads spin while they wait: worth nothing on a quiet machine, and beside any busy process training becomes
# several times slower. Read once, when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
