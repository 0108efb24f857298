"""A block of treated units and periods, as weights: shapes stay fixed while the block varies.

What is wrong with the data is data too: a status in place of an exception.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mcsim._core import Panel, Status
from mcsim.errors import InputError, raise_all
from mcsim.estimators._expression import evaluate
from mcsim.estimators._formula import TreatmentFormula

PRE, ALL = 2, 3  # fewest periods before treatment, and altogether


class Block(NamedTuple):
    """Outcomes, and who is treated when.

    Attributes
    ----------
    y : array (unit, period)
        Outcome less the mean of the controls in the period, which no estimate depends on.
    treated, control : array (unit,)
        1 where the unit is ever treated, or never.
    pre, post : array (period,)
        1 before and after treatment starts.
    noise : array ()
        Standard deviation of the controls' first differences before treatment.
    status : int array ()
        ``OK``, ``NAN`` or ``INVALID_INPUT``: what the data allow.
    """

    y: Float[Array, "unit period"]
    treated: Float[Array, " unit"]
    control: Float[Array, " unit"]
    pre: Float[Array, " period"]
    post: Float[Array, " period"]
    noise: Float[Array, ""]
    status: Int[Array, ""]


def block_of(formula: TreatmentFormula, panel: Panel) -> Block:
    """Read the block off a panel.

    Raises
    ------
    InputError
        If the panel is unbalanced or too short: known when the program is traced.
    """
    _check_shape(panel)
    y = evaluate(formula.outcome, panel)
    d = panel[formula.treatment].astype(float)
    treated, post = (d == 1).any(axis=1), (d == 1).any(axis=0)
    on_block = (d == (treated[:, None] & post[None, :])).all()
    lasting = (jnp.diff(post.astype(int)) >= 0).all()
    enough = treated.any() & ~treated.all() & ((~post).sum() >= PRE)
    finite = jnp.isfinite(y).all() & jnp.isfinite(d).all()
    status = jnp.where(on_block & lasting & enough, Status.OK, Status.INVALID_INPUT)
    control = (~treated).astype(float)
    return Block(
        y=y - control @ y / control.sum(),
        treated=treated.astype(float),
        control=control,
        pre=(~post).astype(float),
        post=post.astype(float),
        noise=_noise(y, control, (~post).astype(float)),
        status=jnp.where(finite, status, Status.NAN).astype(jnp.int32),
    )


def _noise(y, control, pre):
    """Standard deviation, divisor n - 1, of the controls' first differences before treatment."""
    change, counted = jnp.diff(y, axis=1), control[:, None] * pre[None, 1:]
    n = counted.sum()
    mean = (counted * change).sum() / n
    return jnp.sqrt((counted * (change - mean) ** 2).sum() / jnp.maximum(n - 1.0, 1.0))


def _check_shape(panel: Panel) -> None:
    faults = []
    if panel.mask is not None:
        faults.append(
            "panel: got an unbalanced panel (it has a mask), expected every unit in every period; "
            "drop the units or periods with gaps from the frame, or fill them"
        )
    if panel.n_periods < ALL or panel.n_units < 2:
        faults.append(
            f"panel: got {panel.n_units} units x {panel.n_periods} periods, expected at least "
            f"2 units and {ALL} periods, {PRE} of them before treatment"
        )
    raise_all(faults, InputError)
