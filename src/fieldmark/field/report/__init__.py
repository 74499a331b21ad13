"""What a person reads: the report of a run or an evaluation, and the bundle's model card."""

from .card import model_card
from .page import Shown, write_report
from .sequence import sequence_card
from .worst import Mistake, mistakes

__all__ = ["Mistake", "Shown", "mistakes", "model_card", "sequence_card", "write_report"]
