"""Mistakes in estimators and DGPs."""

from mistakes import Mistake

MISTAKES: list[Mistake] = []
