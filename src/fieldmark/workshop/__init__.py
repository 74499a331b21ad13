"""What makes a recogniser: recipe, models, training, export. The only floor that imports torch."""

import os

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
