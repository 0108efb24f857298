"""Mistakes in data: files and frames."""

from mistakes import Mistake

MISTAKES: list[Mistake] = []
