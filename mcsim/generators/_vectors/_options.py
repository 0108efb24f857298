"""Checks of a configuration's options: each returns sentences that say what is wrong."""

import math
from typing import Any

from mcsim.errors import did_you_mean


def faults_of_counts(trainer: Any, **least: int) -> list[str]:
    """Check whole numbers, each against the least that it may be."""
    return [
        f"{name}: got {value!r}, expected an integer of at least {lowest}"
        for name, lowest in least.items()
        if not _whole(value := getattr(trainer, name), lowest)
    ]


def faults_of_widths(trainer: Any, *names: str) -> list[str]:
    """Check the widths of hidden layers."""
    return [
        f"{name}: got {widths!r}, expected widths of layers such as (64, 64)"
        for name in names
        if not isinstance(widths := getattr(trainer, name), tuple)
        or not widths
        or not all(_whole(width, 1) for width in widths)
    ]


def faults_of_positives(trainer: Any, *names: str) -> list[str]:
    """Check positive numbers."""
    return [
        f"{name}: got {value!r}, expected a positive number"
        for name in names
        if not (_number(value := getattr(trainer, name)) and value > 0)
    ]


def faults_of_weights(trainer: Any, *names: str) -> list[str]:
    """Check numbers that are not negative."""
    return [
        f"{name}: got {value!r}, expected a number of at least 0"
        for name in names
        if not (_number(value := getattr(trainer, name)) and value >= 0)
    ]


def faults_of_switches(trainer: Any, *names: str) -> list[str]:
    """Check values that are true or false."""
    return [
        f"{name}: got {value!r}, expected True or False"
        for name in names
        if not isinstance(value := getattr(trainer, name), bool)
    ]


def faults_of_choice(trainer: Any, name: str, known: tuple[str, ...]) -> list[str]:
    """Check a name against those that there are."""
    value = getattr(trainer, name)
    if isinstance(value, str) and value in known:
        return []
    hint = did_you_mean(value, known) if isinstance(value, str) else ""
    return [f"{name}: got {value!r}{hint}, expected {' or '.join(map(repr, known))}"]


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
