"""Samplers that propose hyperparameters and pruners that give up on trials; the driver asks both.

Importing this package imports neither Optuna nor NumPy: `make_search` brings in what a search needs.
"""

from lagom_magic.search.base import EXHAUSTED, WAIT, Answer, Direction, Pruner, Sampler, Suggestion
from lagom_magic.search.factory import Search, make_search

__all__ = ["EXHAUSTED", "WAIT", "Answer", "Direction", "Pruner", "Sampler", "Search", "Suggestion", "make_search"]
