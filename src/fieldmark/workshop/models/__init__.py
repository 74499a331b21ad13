"""Networks: backbones and their weights, heads, and the whole from picture to logits."""

from fieldmark.workshop.models.backbone import Backbone, create_backbone
from fieldmark.workshop.models.network import Network

__all__ = ["Backbone", "Network", "create_backbone"]
