"""What may be wrong with the arguments of any estimator, as sentences."""

from collections.abc import Sequence
from typing import Any

import numpy as np


def faults_of_choice(argument: str, got: Any, known: Sequence[str]) -> list[str]:
    """Return what is wrong with one name of several known."""
    if isinstance(got, str) and got in known:
        return []
    return [f"{argument}: got {got!r}, expected one of {', '.join(map(repr, known))}"]


def faults_of_resamples(resamples: Any) -> list[str]:
    """Return what is wrong with the number of draws."""
    if is_whole(resamples) and resamples >= 2:
        return []
    return [f"resamples: got {resamples!r}, expected a whole number of at least 2"]


def plain(value: Any) -> Any:
    """Return a whole number as Python's own, and anything else as it is."""
    return int(value) if is_whole(value) else value


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number, and no truth value."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)
