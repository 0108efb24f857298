"""What may be wrong with the arguments of differences in differences, as sentences."""

from typing import Any

import numpy as np

from mcsim.estimators._arguments import is_whole, plain


def faults_of_cluster(cluster: Any, method: str) -> list[str]:
    """Return what is wrong with the clusters of a method that has those of units alone."""
    if isinstance(cluster, str) and cluster != "time":
        return []
    return [
        f"cluster: got {cluster!r}, expected 'unit' or one column of groups of units, the clusters "
        f"that {method} has; did and event_study have others"
    ]


def faults_of_window(leads: Any, lags: Any, reference: tuple[Any, ...]) -> list[str]:
    """Return what is wrong with a window of event times and those without a dummy."""
    faults = [
        f"{name}: got {value!r}, expected a whole number of at least 0"
        for name, value in (("leads", leads), ("lags", lags))
        if not is_whole(value) or value < 0
    ]
    if faults:
        return faults
    outside = [time for time in reference if not is_whole(time) or not -leads <= time <= lags]
    if outside or not reference:
        return [
            f"reference: got {reference}, expected event times of the window, {-leads} to {lags}"
        ]
    if set(range(lags + 1)) <= set(reference):
        return [f"reference: got {reference}, which leaves no event time after treatment"]
    return []


def faults_of_horizons(horizons: tuple[Any, ...], *, negative: bool) -> list[str]:
    """Return what is wrong with event times, before treatment only where ``negative`` says."""
    wrong = [h for h in horizons if not is_whole(h) or (h < 0 and not negative)]
    if wrong:
        got = ", ".join(map(repr, wrong))
        least = "" if negative else " of at least 0"
        return [f"horizons: got {got}, expected event times{least}, whole numbers such as [0, 1]"]
    if len(set(horizons)) < len(horizons):
        return [f"horizons: got {horizons}, expected each once"]
    if negative and not any(h >= 0 for h in horizons):
        return [f"horizons: got {horizons}, expected at least one of 0 or more among them"]
    return []


def event_times(argument: Any) -> tuple[Any, ...]:
    """Return one event time or several, of any kind of sequence, as a tuple."""
    return tuple(plain(time) for time in np.ravel(np.asarray(argument, dtype=object)))
