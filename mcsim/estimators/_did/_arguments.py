"""What may be wrong with the arguments of differences in differences, as sentences."""

from collections.abc import Sequence
from typing import Any


def faults_of_choice(argument: str, got: Any, known: Sequence[str]) -> list[str]:
    """Return what is wrong with one name of several known."""
    if got in known:
        return []
    return [f"{argument}: got {got!r}, expected one of {', '.join(map(repr, known))}"]


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
        faults.append(
            f"reference: got {reference}, expected event times of the window, {-leads} to {lags}"
        )
    if set(range(lags + 1)) <= set(reference):
        faults.append(f"reference: got {reference}, which leaves no event time after treatment")
    return faults


def faults_of_horizons(horizons: Any, *, negative: bool) -> list[str]:
    """Return what is wrong with event times, before treatment only where ``negative`` says."""
    wrong = [h for h in horizons if not is_whole(h) or (h < 0 and not negative)]
    if wrong:
        what = "event times" if negative else "event times of at least 0"
        return [f"horizons: got {wrong}, expected {what}, whole numbers"]
    if len(set(horizons)) < len(horizons):
        return [f"horizons: got {tuple(horizons)}, expected each once"]
    if negative and not any(h >= 0 for h in horizons):
        return [f"horizons: got {tuple(horizons)}, expected at least one of 0 or more among them"]
    return []


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number, and no truth value."""
    return isinstance(value, int) and not isinstance(value, bool)
