"""Bundles at work: the engine, streams of pictures, the recogniser."""

from .engine import Engine, compile_engine, cores
from .evaluation import Evaluation, evaluate
from .recogniser import Recogniser, load
from .stream import Seen, stream

__all__ = ["Engine", "Evaluation", "Recogniser", "Seen", "compile_engine", "cores", "evaluate", "load", "stream"]
