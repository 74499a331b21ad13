"""Networks: backbones and their weights, heads, and the whole from picture to logits."""

from fieldmark.workshop.models.backbone import Backbone, create_backbone
from fieldmark.workshop.models.network import BaseNetwork, Network

__all__ = ["Backbone", "BaseNetwork", "Network", "create_backbone"]
