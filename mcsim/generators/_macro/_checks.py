"""What is checked before a macro panel is learned or drawn."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mcsim._core import Panel
from mcsim._schema import Column
from mcsim.errors import Fault, Option
from mcsim.generators._options import (
    POSITIVE,
    SHARE,
    WEIGHT,
    faults_of_choices,
    faults_of_counts,
    faults_of_numbers,
    is_whole,
)
from mcsim.generators._vectors._fitted_panel import faults_of_size

MIN_UNITS, MIN_PERIODS = 4, 20


def faults_of_options(config: Any) -> list[str]:
    """Return what is wrong with the options of a `MacroPanel`."""
    faults = faults_of_counts(config, steps=1)
    if config.panels is not None and not (is_whole(config.panels, 4) and config.panels % 2 == 0):
        faults.append(f"panels: got {config.panels!r}, expected an even integer of at least 4")
    return [
        *faults,
        *faults_of_numbers(config, POSITIVE, "learning_rate"),
        *faults_of_numbers(config, SHARE, "average"),
        *faults_of_numbers(config, WEIGHT, "placebo_weight"),
        *faults_of_choices(config, common_shocks=("fixed", "redraw")),
    ]


def faults_of_training(panel: Panel, given: Sequence[str], rows: Sequence[Any]) -> list[str]:
    """Return why a panel cannot be learned from."""
    faults = []
    if len(given):
        faults.append(
            f"given: got {given!r}, but MacroPanel draws whole series and conditions on nothing; "
            "leave it out"
        )
    first = next(iter(panel))
    if len(panel) > 1:
        faults.append(
            Fault(
                f"panel: got {len(panel)} columns ({', '.join(panel)}), but MacroPanel learns one "
                "outcome",
                ["choose it: ", Option(f"panel.select([{first!r}])", "select", first)],
            )
        )
    if any(chosen is not None and len(np.unique(chosen)) < len(chosen) for chosen in rows):
        faults.append(
            "resample: a bootstrap sample holds units twice, and MacroPanel would take copies for "
            "units that move together; take resample='folds', or None"
        )
    fewest = min(panel.n_units if chosen is None else len(chosen) for chosen in rows)
    if fewest < MIN_UNITS:
        whole = "" if fewest == panel.n_units else f" of {panel.n_units} in one of the fits"
        faults.append(
            f"panel: got {fewest} {'unit' if fewest == 1 else 'units'}{whole}, expected at least "
            f"{MIN_UNITS} to learn a population of units from"
        )
    if panel.n_periods < MIN_PERIODS:
        faults.append(
            f"panel: got {panel.n_periods} {'period' if panel.n_periods == 1 else 'periods'}, "
            f"expected at least {MIN_PERIODS} to learn dynamics from; for short panels use VAE or "
            "another generator of units' whole paths"
        )
    return faults + [fault for name in panel for fault in _faults_of_cells(panel, name)]


def _faults_of_cells(panel: Panel, name: str) -> list[str]:
    values = np.asarray(panel[name], np.float64)
    holes = ~np.isfinite(values)
    if panel.mask is not None:
        holes = holes | ~np.asarray(panel.mask)
    if holes.any():
        complete = int((~holes.any(axis=1)).sum())
        return [
            f"column {name!r}: {int(holes.sum())} cells are missing or not finite; fill them, or "
            f"keep the {complete} units that are complete"
        ]
    constant = np.flatnonzero(np.ptp(values, axis=1) <= 1e-13 * np.abs(values).max(axis=1))
    if constant.size:
        which = ", ".join(map(str, constant[:5]))
        return [
            Fault(
                f"column {name!r}: constant over all periods in {constant.size} of {len(values)} "
                f"units (numbers {which}), which have no dynamics to learn",
                [Option("drop them with panel.take", "take")],
            )
        ]
    own = values - values.mean(axis=1, keepdims=True) - values.mean(axis=0) + values.mean()
    if (own.std(axis=1) <= 1e-6 * values.std(axis=1)).any():
        return [
            f"column {name!r}: some units differ from the cross-section mean by a constant alone, "
            "and have nothing of their own to learn; is a common series in place of the units'?"
        ]
    return []


def faults_of_kind(column: Column) -> list[str]:
    """Return why a column of this kind cannot be drawn."""
    if column.kind == "continuous":
        return []
    return [
        f"column {column.name!r}: the schema says {column.kind}, but MacroPanel draws continuous "
        f"values; if they may stand for it, pass schema.replace({column.name}="
        "{'kind': 'continuous'})"
    ]


def faults_of_sample(
    generator: Any, n_units: Any, n_periods: Any, given: Mapping[str, Any] | None
) -> list[str]:
    """Return what is wrong with the arguments of ``sample``."""
    faults = faults_of_size("n_units", n_units)
    wrong: list[str] = faults_of_size("n_periods", n_periods)
    redrawn = Option("generator.with_shocks('redraw')", "common_shocks", "redraw")
    if not wrong and generator.common_shocks == "fixed" and n_periods > generator.n_periods:
        wrong += [
            Fault(
                f"n_periods: got {n_periods}, but the common shocks are those of the data's "
                f"{generator.n_periods} periods",
                ["ask for fewer, or draw them anew: ", redrawn],
            )
        ]
    if given:
        wrong.append(f"given: got {list(given)}, but MacroPanel conditions on nothing")
    return faults + wrong
