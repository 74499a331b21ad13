"""Training: from DATA to a run folder with its bundle."""

from fieldmark.workshop.train.run import Result, train

__all__ = ["Result", "train"]
