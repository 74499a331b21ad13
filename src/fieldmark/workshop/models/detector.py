"""Detectors by name."""

from collections.abc import Callable, Mapping

from fieldmark.errors import UsageError, unknown_name
from fieldmark.workshop.models.anchored import Retina, SsdLite
from fieldmark.workshop.models.backbone import Backbone
from fieldmark.workshop.models.boxes import BoxNetwork
from fieldmark.workshop.models.faster_rcnn import FasterRcnn
from fieldmark.workshop.models.fcos import Fcos

DETECTORS: Mapping[str, Callable[[Backbone, int], BoxNetwork]] = {
    kind.kind: kind for kind in (Fcos, SsdLite, Retina, FasterRcnn)
}


def make_detector(name: str, backbone: Backbone, n_classes: int) -> BoxNetwork:
    """The untrained detector of this name; UsageError for an unknown one, or a backbone without the levels it needs."""
    if name not in DETECTORS:
        raise UsageError(unknown_name("detector", name, DETECTORS))
    return DETECTORS[name](backbone, n_classes)
