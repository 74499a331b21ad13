"""Where a recogniser looked: class evidence over the picture."""

from .evidence import Explanation, Question, explain_picture
from .faithfulness import check_maps
from .overlay import draw_overlay, place_map

__all__ = ["Explanation", "Question", "check_maps", "draw_overlay", "explain_picture", "place_map"]
