"""Verdicts: what a reader may use a generator of panels for, in a sentence."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mcsim._fidelity._menu import n_inside, outside, unresolved
from mcsim._fidelity._verdict import AUC_BAR
from mcsim._panel_fidelity._inference import RIGHT, UNRESOLVED, WRONG
from mcsim._panel_fidelity._score import Scores

Record = dict[str, Any]

NEW = 0.9  # memorization from which a generator draws new units
COPYING, COPIES = 0.5, 20.0  # memorization below which it copies; percent of copies beyond chance
NEAR = 1.15  # times the best reference, the panel score of one that is as good
LEVEL = 0.05
LISTED = 4  # periods named one by one
REAL_VERDICT = "one real half against the other: what each number reads when nothing is wrong"


def best_reference(
    scores: Mapping[str, Scores], references: Sequence[str], measures: Mapping[str, Mapping]
) -> str | None:
    """Return the reference with the lowest score of those that do not copy; None if all do."""
    fresh = [n for n in references if n in scores and measures[n].get("memorization", 0) >= NEW]
    return min(fresh, key=lambda name: scores[name].value[0]) if fresh else None


def verdict(
    inference: Sequence[Record],
    score: Record,
    measures: Mapping[str, float],
    floor: Mapping[str, float],
    estimates: Sequence[Record],
    saw_all: bool = False,
) -> str:
    """Put one generator's row in words."""
    parts = [
        "compared with units that it was fit on" if saw_all else "",
        copying(measures, floor),
        in_inference(inference),
        in_score(score),
        told_apart(measures),
        outside(estimates) or unresolved(estimates) or in_law(estimates),
    ]
    return "; ".join(part for part in parts if part)


def copying(measures: Mapping[str, float], floor: Mapping[str, float]) -> str:
    """Warn of units that are repeated, or stay close to those of the training."""
    ratio, copies = measures.get("memorization", np.nan), measures["copies"]
    if ratio < COPYING or copies > floor["copies"] + COPIES:
        known = f", memorization {ratio:.2f}" if np.isfinite(ratio) else ""
        return f"copies its training units ({copies:.0f} % exact copies{known})"
    if ratio < NEW:
        return f"stays close to its training units (memorization {ratio:.2f})"
    return ""


def in_inference(records: Sequence[Record]) -> str:
    """Say where placebo differences in differences vary as on real units, and where not."""
    wrong = [r for r in records if r["verdict"] == WRONG]
    right = sum(r["verdict"] == RIGHT for r in records)
    unresolved = sum(r["verdict"] == UNRESOLVED for r in records)
    if right == len(records):
        return f"inference right at all {right} breaks"
    if unresolved == len(records):
        return f"inference not resolvable at any of {unresolved} breaks: too few units"
    words = [f"wrong: {_where(wrong)}"] if wrong else []
    words += [f"right at {right} of {len(records)} breaks"] if right else []
    words += [f"not resolvable at {unresolved}"] if unresolved else []
    return f"inference {', '.join(words)}"


def _where(wrong: Sequence[Record]) -> str:
    """Name outcomes and breaks, and by how much the sd of placebo effects is off."""
    words = []
    for outcome in dict.fromkeys(r["outcome"] for r in wrong):
        here = [r for r in wrong if r["outcome"] == outcome]
        breaks = [str(r["break"]).removesuffix(" 00:00:00") for r in here]
        named = ", ".join(breaks) if len(breaks) <= LISTED else f"at {len(breaks)} breaks"
        percent = 100 * np.expm1(np.mean([r["value"] for r in here]))
        size = f"{abs(percent):.0f} % too {'small' if percent < 0 else 'large'}"
        words.append(f"{outcome} {named} (sd of placebo effects {size})")
    return ", ".join(words)


def in_score(score: Record) -> str:
    """Say how close its moments are, beside the best reference that does not copy."""
    said = f"panel score {score['value']:.2f}"
    if not score["against"]:
        return f"{said} (real against real: about 1)"
    if score["against"] == score["generator"]:
        return f"{said}, the best reference that does not copy"
    ratio, lower, upper = (score[n] for n in ("ratio", "ratio_lower", "ratio_upper"))
    said += f", {ratio:.2f} [{lower:.2f}, {upper:.2f}] x the best reference that does not copy"
    word = "as close" if upper <= NEAR else "farther" if lower > NEAR else "not resolvable"
    return f"{said} ({score['against']}): {word}"


def told_apart(measures: Mapping[str, float]) -> str:
    """Say whether a classifier tells its units from real ones, or whether these are too few.

    It does not where even an area that is larger, by what chance gives in 95 % of cases, would lie
    below the bar.
    """
    auc, p_value = measures.get("c2st_auc", np.nan), measures.get("c2st_p_value", np.nan)
    if not np.isfinite(auc):
        return ""
    if p_value < LEVEL:
        return f"a classifier tells its units from real ones (AUC {auc:.2f}, p {p_value:.3f})"
    noise = measures["c2st_auc_noise"]
    if auc + noise > AUC_BAR:
        return (
            f"classifier not resolvable (AUC {auc:.2f} ± {noise:.2f}, p {p_value:.2f}): too few "
            "units"
        )
    return f"a classifier does not tell its units from real ones (AUC {auc:.2f}, p {p_value:.2f})"


def in_law(estimates: Sequence[Record]) -> str:
    """Say that the real estimates lie inside their law, if there are any."""
    return "your estimates lie inside its law" if n_inside(estimates) else ""


def of_all_outcomes(measures: pd.DataFrame, name: str) -> dict[str, float]:
    """Collect one generator's measures that are of all outcomes."""
    mine = measures[(measures["generator"] == name) & (measures["outcome"] == "")]
    return dict(zip(mine["measure"], mine["value"], strict=True))
