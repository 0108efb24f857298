"""One row of the table: what a generator's draws, or real units in their place, give."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Key
from numpy import ndarray

from mcsim._core import Panel
from mcsim._fidelity._law import OnRealData, n_estimates
from mcsim._fidelity._menu import draws_for
from mcsim._panel_fidelity._draws import draw_panels
from mcsim._panel_fidelity._estimates import Drawn, Found, estimates_on, statistics_on
from mcsim._panel_fidelity._inference import changes_in_means, log_sd
from mcsim._panel_fidelity._layout import PanelLayout, Units
from mcsim._panel_fidelity._measures import measures_of
from mcsim._panel_fidelity._moments import mean_moments
from mcsim._panel_fidelity._placebo import placebo_rejections
from mcsim._panel_fidelity._real import RealPanel
from mcsim._panel_fidelity._score import Ruler, Squares, Vectors, end_to_end, squared
from mcsim._panel_fidelity._sources import Halves, Member
from mcsim._panel_fidelity._two_sample import features, twins_of, two_sample

PIECE_UNITS = 2_000  # drawn for the moments of one split, in panels of the held-out size
TESTED_SPLITS = 5  # the classifier is slow, and more splits of the same units tell little new


class Sizes(NamedTuple):
    """How much is drawn: placebo laws, samples for the laws of estimates, permutations.

    Without a number of ``draws`` there are as many as the verdict on the estimates needs.
    """

    replications: int
    draws: int | None
    permutations: int

    def draws_of(self, estimators: Sequence[OnRealData]) -> int:
        """Return the number of samples for the laws of these estimators' estimates."""
        return draws_for(n_estimates(estimators)) if self.draws is None else self.draws


class Split(NamedTuple):
    """What one split gives.

    Attributes
    ----------
    ratio, ratio_draws : array (outcome, break), (draw, outcome, break)
        Log ratio of the sd of changes in means, and its bootstrap.
    squares : Squares
        Standardized differences of moments.
    measures : dict of (measure, outcome) to float
    paths : array (panel, period, outcome)
        Cross-section means of generated panels; empty for real units.
    estimates, statistics : dict
        Values on generated panels.
    """

    ratio: Float[ndarray, "outcome break"]
    ratio_draws: Float[ndarray, "draw outcome break"]
    squares: Squares
    measures: dict[tuple[str, str], float]
    paths: Float[ndarray, "panel period outcome"]
    estimates: Found
    statistics: Found


class Row(NamedTuple):
    """All splits, tests of placebo laws by outcome, and one panel of the real size."""

    splits: list[Split]
    rejected: dict[str, list[Bool[ndarray, "rep inference"]]]
    sample: Panel


def real_row(
    key: Key[Array, ""], real: RealPanel, halves: Halves, ruler: Ruler, sizes: Sizes
) -> Row:
    """Let the first half of every split play the generated one; test laws on the panel itself."""
    splits, nothing = [], np.zeros((0, real.shape[1], len(real.layout.outcomes)))
    for index, (train, held) in enumerate(halves):
        mine, other = real.side(train), real.side(held)
        drawn, unseen = real.units.take(train), real.units.take(held)
        found = measures_of(drawn, 1, drawn, unseen, real.layout, real=True)
        found |= _told_apart(jax.random.fold_in(key, index), index, drawn, unseen, sizes)
        splits.append(
            Split(
                mine.log_sd - other.log_sd,
                mine.log_sd_draws - other.log_sd_draws,
                squared(mine.vectors, other.vectors, ruler, (len(train), len(held))),
                found,
                nothing,
                {},
                {},
            )
        )
    of_laws = jax.random.fold_in(key, len(halves))
    rejected = _rejected(of_laws, real.units.cube[None], real.layout, sizes.replications)
    return Row(splits, {outcome: [found] for outcome, found in rejected.items()}, real.panel)


def generated_row(
    key: Key[Array, ""],
    members: Sequence[Member],
    real: RealPanel,
    ruler: Ruler,
    estimators: Sequence[OnRealData],
    sizes: Sizes,
) -> Row:
    """Compare each member's draws with the units that it did not see."""
    asked = sizes.replications, sizes.draws_of(estimators)
    reps, draws = (-(-n // len(members)) for n in asked)
    names, layout = real.layout.schema.names, real.layout
    splits, rejected, sample = [], {name: [] for name in layout.outcomes}, None
    for index, member in enumerate(members):
        keys = jax.random.split(jax.random.fold_in(key, index), 4)
        drawn = draw_panels(keys[0], member.generator, max(reps, draws), real.shape, names)
        cubes = _units(drawn, layout).cube.reshape(-1, *real.units.cube.shape)
        split = _split(keys[1], index, member, drawn, cubes, real, ruler, sizes)
        estimates = estimates_on(keys[2], estimators, drawn, layout.schema, draws)
        statistics = statistics_on(drawn, layout.outcomes)
        splits.append(split._replace(estimates=estimates, statistics=statistics))
        for outcome, found in _rejected(keys[3], cubes, layout, reps).items():
            rejected[outcome].append(found)
        sample = sample or layout.schema.panel({name: drawn[name][0] for name in names})
    assert sample is not None
    return Row(splits, rejected, sample)


def _split(
    key: Key[Array, ""],
    index: int,
    member: Member,
    drawn: Drawn,
    cubes: Float[ndarray, "panel unit period outcome"],
    real: RealPanel,
    ruler: Ruler,
    sizes: Sizes,
) -> Split:
    n_held = len(member.held)
    pieces = min(len(cubes), -(-PIECE_UNITS // n_held))
    fresh = _units({name: x[:pieces, :n_held] for name, x in drawn.items()}, real.layout)
    shape = pieces, n_held
    moments = end_to_end(
        mean_moments(
            fresh.cube.reshape(*shape, *fresh.cube.shape[1:]),
            fresh.rows.reshape(*shape, -1),
            real.grid,
        )
    )
    other, train = real.side(member.held), real.units.take(member.train)
    unseen, generated = real.units.take(member.held), Vectors(moments, moments[None])
    found = measures_of(fresh, pieces, train, unseen, real.layout, real=False)
    if member.seen:
        found = {name: np.nan if name[0] == "memorization" else v for name, v in found.items()}
    found |= _told_apart(key, index, fresh.take(slice(0, n_held)), unseen, sizes)
    log_sds = log_sd(changes_in_means(cubes))
    counts = len(member.train), n_held
    squares = squared(generated, other.vectors, ruler, counts)
    draws = log_sds - other.log_sd_draws
    return Split(log_sds - other.log_sd, draws, squares, found, cubes.mean(axis=1), {}, {})


def _units(drawn: Drawn, layout: PanelLayout) -> Units:
    """Lay the units of several panels end to end."""
    return layout.units({name: x.reshape(-1, x.shape[-1]) for name, x in drawn.items()})


def _told_apart(
    key: Key[Array, ""], index: int, drawn: Units, held: Units, sizes: Sizes
) -> dict[tuple[str, str], float]:
    """Ask the classifier, in the first splits."""
    if index >= TESTED_SPLITS:
        return {}
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel().tolist())
    shape = drawn.cube.shape[2], drawn.cube.shape[1]
    real, generated = (features(rng, units.rows, shape) for units in (held, drawn))
    found = two_sample(rng, real, generated, twins_of(drawn.flat()), sizes.permutations)
    return {(f"c2st_{name}", ""): value for name, value in found._asdict().items()}


def _rejected(
    key: Key[Array, ""],
    cubes: Float[ndarray, "panel unit period outcome"],
    layout: PanelLayout,
    reps: int,
) -> dict[str, Bool[ndarray, "rep inference"]]:
    return {
        outcome: placebo_rejections(jax.random.fold_in(key, k), cubes[..., k], reps)
        for k, outcome in enumerate(layout.outcomes)
    }
