"""Cast: who plays whom in one fold of the comparison.

Some rows play the real ones, others those that should look like them. For a generator the latter
are its draws; in the reference row ``real`` they are real rows too, which shows what each measure
reads when nothing is wrong.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from mcsim._fidelity._layout import Layout, Matrix, stratified_parts
from mcsim._fidelity._pool import Pool

CLASSIFIER_ROWS = 8_000  # per side
HELD_ROWS = 10_000
PIECES = 4  # samples of the hold-out's size, over which distances are averaged


class Cast(NamedTuple):
    """The roles of one fold; all are matrices (row, column) with rows in random order.

    Attributes
    ----------
    train, held
        Rows that the generator saw and did not see (None if there are none).
    pair
        What the classifier is fit on: real rows and rows like them.
    scored
        What it is scored on: held-out real rows and fresh rows like them.
    pieces
        Rows like real ones, in the number of the held-out ones.
    fresh, yardstick
        Rows whose neighbors among the training rows are looked for, and the real rows (None: the
        training rows themselves) that say how far neighbors are.
    large, weights, target
        A large draw, weights that give its arms their real shares, and what it should match.
    """

    train: ndarray
    held: ndarray | None
    pair: tuple[ndarray, ndarray]
    scored: tuple[ndarray | None, ndarray]
    pieces: tuple[ndarray, ...]
    fresh: ndarray
    yardstick: ndarray | None
    large: ndarray
    weights: ndarray | None
    target: ndarray


def cast_generator(
    pool: Pool, layout: Layout, train: Matrix, held: ndarray | None, rng: np.random.Generator
) -> Cast:
    """Cast a generator's draws as the rows that should look real."""
    fit_rows = _capped(train, layout, CLASSIFIER_ROWS, rng)
    fit = _arm_counts(fit_rows, layout)
    held = None if held is None else _capped(held, layout, HELD_ROWS, rng)
    size = _arm_counts(held, layout) if held is not None else _unheld(train, layout)
    pieces = tuple(pool.draw(fit + piece * size, size, rng) for piece in range(PIECES))
    fresh = np.concatenate(pieces)
    return Cast(
        train=train,
        held=held,
        pair=(fit_rows, pool.draw(np.zeros_like(fit), fit, rng)),
        scored=(held, fresh),
        pieces=pieces,
        fresh=fresh,
        yardstick=held,
        large=pool.rows,
        weights=pool.weights,
        target=train,
    )


def cast_real(layout: Layout, train: Matrix, held: ndarray, rng: np.random.Generator) -> Cast:
    """Cast real rows as the rows that should look real."""

    def split(rows: ndarray, parts: int) -> list[ndarray]:
        return [rows[part] for part in stratified_parts(rng, layout.arm(rows), parts)]

    held = _capped(held, layout, HELD_ROWS, rng)
    fit = split(_capped(train, layout, 2 * CLASSIFIER_ROWS, rng), 2)
    halves = split(np.concatenate([train, held]), 2)
    scored = split(held, 2)
    pieces = split(train, max(1, len(train) // len(held)))[:PIECES]
    return Cast(
        train=train,
        held=held,
        pair=(fit[0], fit[1]),
        scored=(scored[0], scored[1]),
        pieces=tuple(piece[: len(held)] for piece in pieces),
        fresh=held,
        yardstick=None,
        large=halves[0],
        weights=None,
        target=halves[1],
    )


def rows_needed(layout: Layout, arm: Int[ndarray, " row"]) -> int:
    """Return the size of the pool that suffices for casts of these real rows."""
    largest = int(np.bincount(arm, minlength=len(layout.arms)).max())
    return len(layout.arms) * (
        min(largest, CLASSIFIER_ROWS) + PIECES * min(largest // 2 + 1, HELD_ROWS)
    )


def _unheld(train: Matrix, layout: Layout) -> Int[ndarray, " arm"]:
    """Return the counts of a hold-out that there is not: a fifth of the rows."""
    counts = _arm_counts(train, layout) // 5
    return np.minimum(counts, HELD_ROWS * counts // max(int(counts.sum()), 1))


def _arm_counts(rows: Matrix, layout: Layout) -> Int[ndarray, " arm"]:
    return np.bincount(layout.arm(rows), minlength=len(layout.arms))


def _capped(
    rows: Matrix, layout: Layout, limit: int, rng: np.random.Generator
) -> Float[np.ndarray, "kept column"]:
    parts = stratified_parts(rng, layout.arm(rows), -(-len(rows) // limit))
    return rows[parts[0]]
