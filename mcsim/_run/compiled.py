"""Compiled programs of a run: one draws a chunk of samples, one estimates on a chunk of panels.

Draws and estimates are two programs, so that all estimators of a cell get the same samples and no
sample is drawn twice. A DGP or estimator that is a pytree (a fitted generator) is an argument of
the program, so that the members of an ensemble share one; a plain function is a constant of it.
"""

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Key

from mcsim._core.design import Design
from mcsim._core.machine import PROGRAMS
from mcsim._core.protocols import Diagnosed, ReadsColumns
from mcsim._core.records import Estimate, Panel, Sample
from mcsim._data import remedy_for_cross_section
from mcsim._host.host import kind_of
from mcsim._readers import UNNAMED, FullLabel, label_all
from mcsim.errors import ContractError, InputError, McsimError, TooFewPeriods, type_and_message

_KEY = jax.ShapeDtypeStruct((), jax.eval_shape(jax.random.key, 0).dtype)


def draw_chunk(name: str, dgp: Any, keys: Key[Array, " rep"], design: Design) -> Sample:
    """Draw one sample per key, batched along a first axis.

    Parameters
    ----------
    name : str
        The DGP's name, for messages.
    dgp : DGP
        A pure function, or a pytree that can be called.
    keys : array of keys (rep,)
        One per replication.
    design : Design
        The cell's design.

    Returns
    -------
    Sample
        Columns (rep, unit, period), truths (rep,).

    Raises
    ------
    ContractError
        If the DGP returns something else than a sample.
    InputError
        If it cannot be traced.
    """
    with readable_errors(f"dgp {name!r}"):
        return _run(_draw, dgp, keys, design)


def estimate_chunk(
    name: str, estimator: Any, keys: Key[Array, " rep"], panels: Panel
) -> dict[FullLabel, Estimate]:
    """Estimate on every panel of a chunk.

    Parameters
    ----------
    name : str
        The estimator's name, for messages.
    estimator : Estimator
        A pure function, or a pytree that can be called.
    keys : array of keys (rep,)
        One per replication.
    panels : Panel
        Columns (rep, unit, period).

    Returns
    -------
    dict of (estimand, inference) to Estimate
        Arrays of shape (rep,).

    Raises
    ------
    ContractError
        If the estimator returns something else than estimates.
    InputError
        If it cannot be traced.

    Notes
    -----
    Replications in which a column that the estimator reads is NaN are estimated without these
    cells; where the estimator refuses panels with gaps, they keep the status ``nan``. The others
    are the same bits with or without such neighbors.
    """
    with readable_errors(f"estimator {name!r}"), _index_explained(panels):
        estimates = _run(_estimate, estimator, keys, panels)
        missing = missing_cells(estimator, panels)
        if missing is None:
            return estimates
        try:
            again = _run(_estimate, estimator, keys, without_cells(panels, missing))
        except InputError:
            return estimates
        here = missing.any(axis=(1, 2))
        return jax.tree.map(lambda plain, gaps: jnp.where(here, gaps, plain), estimates, again)


def diagnose_chunk(name: str, estimator: Any, panels: Panel) -> dict[str, Array]:
    """Return an estimator's diagnosis of every panel of a chunk; empty if it has none.

    Parameters
    ----------
    name, estimator, panels
        As in `estimate_chunk`; the estimator may be of any kind.

    Returns
    -------
    dict of str to array (rep,)

    Raises
    ------
    InputError
        If it cannot be traced.
    """
    missing = missing_cells(estimator, panels)
    found = {} if missing is None else {MISSING: missing.sum(axis=(1, 2))}
    if not isinstance(estimator, Diagnosed):
        return found
    with readable_errors(f"estimator {name!r}: its diagnosis"):
        if not _diagnoses(estimator, panels):
            return found
        return found | _run(_diagnose, estimator, panels)


def _diagnoses(estimator: Diagnosed, panels: Panel) -> bool:
    """Return whether an estimator has any diagnosis of panels; traced once for their shapes."""
    leaves, tree = jax.tree.flatten(jax.tree.map(_shape_of_first, panels))
    if not jax.tree_util.all_leaves([estimator]):
        return bool(jax.eval_shape(estimator.diagnose, jax.tree.unflatten(tree, leaves)))
    return _diagnoses_of(estimator, tree, *leaves)


@lru_cache(maxsize=1024)
def _diagnoses_of(estimator: Diagnosed, tree: Any, *leaves: Any) -> bool:
    return bool(jax.eval_shape(estimator.diagnose, jax.tree.unflatten(tree, leaves)))


def sample_shape(name: str, dgp: Any, design: Design) -> Any:
    """Return one sample's shapes without drawing it: a dry run that checks the contract.

    Parameters
    ----------
    name, dgp, design
        The cell.

    Returns
    -------
    Sample of jax.ShapeDtypeStruct

    Raises
    ------
    ContractError, InputError
        As `draw_chunk`.
    """
    with readable_errors(f"dgp {name!r}"):
        dynamic, static = _split(dgp)
        return jax.eval_shape(
            lambda part, key, design: _draw_one(part, static, key, design),
            dynamic,
            _KEY,
            design,
        )


def estimate_labels(name: str, estimator: Any, panel: Mapping[str, Any]) -> list[FullLabel]:
    """Return the labels of an estimator's estimates without estimating: a dry run as well.

    Parameters
    ----------
    name, estimator
        The estimator.
    panel : Panel
        A panel, or its shapes.

    Raises
    ------
    ContractError, InputError
        As `estimate_chunk`.
    """
    with readable_errors(f"estimator {name!r}"):
        dynamic, static = _split(estimator)
        shapes = jax.eval_shape(
            lambda part, key, panel: _estimate_one(part, static, key, panel),
            dynamic,
            _KEY,
            panel,
        )
    return list(shapes)


# Missing cells. Estimators that name their columns (`ReadsColumns`) get panels without the cells in
# which one of these columns is NaN; others get panels as they are.

MISSING = "cells with NaN in a column that it reads"
"""The name of a count: such cells are left out, or the status is ``nan`` if all are needed."""


def missing_cells(estimator: object, panels: Panel) -> Bool[Array, "rep unit period"] | None:
    """Return the observed cells in which a column that the estimator reads is NaN.

    Parameters
    ----------
    estimator : Estimator
    panels : Panel
        Columns (rep, unit, period).

    Returns
    -------
    array of bool (rep, unit, period) or None
        None where there are none, and for functions, which see the panel as it is.
    """
    if not isinstance(estimator, ReadsColumns):
        return None
    columns = tuple(panels[name] for name in estimator.reads if name in panels)
    if not any(_has_nan(column) for column in columns):
        return None
    missing, some = _missing(columns, panels.mask)
    return missing if some else None


def _has_nan(column: Array) -> bool:
    """Whether a number is NaN; on a CPU without a program, whose compilation would cost more."""
    numeric: Any = np if jax.default_backend() == "cpu" else jnp
    return bool(numeric.isnan(numeric.min(numeric.asarray(column))))


@jax.jit
def _missing(
    columns: tuple[Array, ...], mask: Array | None
) -> tuple[Bool[Array, "rep unit period"], Bool[Array, ""]]:
    missing = jnp.stack([jnp.isnan(column) for column in columns]).any(axis=0)
    missing = missing if mask is None else missing & mask
    return missing, missing.any()


def without_cells(panels: Panel, cells: Bool[Array, "rep unit period"]) -> Panel:
    """Return panels in which these cells are not observed."""
    mask = ~cells if panels.mask is None else panels.mask & ~cells
    return Panel.batch(panels, mask, panels.static_part)


def _split(part: Any) -> tuple[Any, Any]:
    """Split a DGP or estimator into (pytree argument, static constant); one of them is None."""
    return (None, part) if jax.tree_util.all_leaves([part]) else (part, None)


def _shape_of_first(leaf: Array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype)


# Names are no arguments of programs: one part under two names is one program. The inner functions
# are jitted too: they are traced once for a shape, whatever the chunk.


@partial(jax.jit, static_argnums=1)
def _draw_one(dynamic: Any, static: Any, key: Any, design: Design) -> Sample:
    dgp = dynamic if static is None else static
    return _checked_sample(dgp(key, design))


@partial(jax.jit, static_argnums=1)
def _draw(dynamic: Any, static: Any, keys: Any, design: Design) -> Sample:
    return jax.vmap(lambda key: _draw_one(dynamic, static, key, design))(keys)


@partial(jax.jit, static_argnums=1)
def _estimate_one(dynamic: Any, static: Any, key: Any, panel: Panel):
    estimator = dynamic if static is None else static
    return _checked_estimates(estimator(key, panel))


@partial(jax.jit, static_argnums=1)
def _estimate(dynamic: Any, static: Any, keys: Any, panels: Panel):
    return jax.vmap(lambda key, panel: _estimate_one(dynamic, static, key, panel))(keys, panels)


@partial(jax.jit, static_argnums=1)
def _diagnose(dynamic: Any, static: Any, panels: Panel) -> dict[str, Array]:
    estimator = dynamic if static is None else static
    return jax.vmap(lambda panel: dict(estimator.diagnose(panel)))(panels)


@dataclass
class _Program:
    """A program for arguments of some shapes: compiled by one thread, for which others wait."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    is_compiled: bool = False


@lru_cache(maxsize=1024)
def _program(function: Any, static: Any, shapes: tuple[Any, ...]) -> _Program:
    """Return the program of a function, the same one for equal arguments."""
    return _Program()


def _run(function: Any, part: Any, *arrays: Any) -> Any:
    """Run the program of a DGP or an estimator; compile it before, beside programs that run."""
    dynamic, static = _split(part)
    leaves, tree = jax.tree.flatten((dynamic, arrays))
    shapes = ((np.shape(leaf), getattr(leaf, "dtype", type(leaf))) for leaf in leaves)
    program = _program(function, static, (tree, *shapes))
    with program.lock:
        if not program.is_compiled:
            function.lower(dynamic, static, *arrays).compile()  # kept by JAX for the call below
            program.is_compiled = True
    with PROGRAMS:
        return jax.block_until_ready(function(dynamic, static, *arrays))


def _checked_sample(sample: Any) -> Sample:
    if not isinstance(sample, tuple) or len(sample) != 2 or not isinstance(sample[0], Panel):
        lift = "; a function of frames is lifted with @mcsim.host and takes (rng, design)"
        raise ContractError(
            f"returned {kind_of(sample)}, expected Sample(panel, truth)"
            + (lift if isinstance(sample, tuple) else "")
        )
    if not isinstance(sample[1], Mapping):
        raise ContractError(
            f"the truth is {type(sample[1]).__name__}, expected a dict such as {{'att': 1.0}}"
        )
    wrong = [str(e) for e, value in sample[1].items() if isinstance(value, str) or jnp.ndim(value)]
    if wrong:
        raise ContractError(f"the truth of {', '.join(wrong)} is not a number")
    truth = {str(estimand): jnp.asarray(value, float) for estimand, value in sample[1].items()}
    return Sample(sample[0], truth)


def _checked_estimates(result: Any) -> dict[FullLabel, Estimate]:
    labeled = label_all(result if isinstance(result, Mapping) else {UNNAMED: result})
    # JAX sorts the keys of a dict, and keeps the order of an OrderedDict.
    return OrderedDict((label, _checked_estimate(label, e)) for label, e in labeled.items())


def _checked_estimate(label: FullLabel, estimate: Any) -> Estimate:
    if not isinstance(estimate, Estimate):
        raise ContractError(
            f"{label[0] or 'the result'} is {type(estimate).__name__}, "
            "expected an Estimate (for a function of frames use @mcsim.host)"
        )
    words = {field: part for field, part in estimate._asdict().items() if isinstance(part, str)}
    if words:
        field, word = next(iter(words.items()))
        raise ContractError(f"its {field} is {word!r}, expected a number")
    *numbers, status = (jnp.asarray(number) for number in estimate)
    if any(number.ndim for number in (*numbers, status)):
        shapes = {n: jnp.shape(v) for n, v in estimate._asdict().items() if jnp.ndim(v)}
        raise ContractError(f"got arrays, expected numbers: {shapes}")
    return Estimate(*(number.astype(float) for number in numbers), status=status.astype(jnp.int8))


@contextlib.contextmanager
def _index_explained(panels: Panel) -> Iterator[None]:
    """Add to `TooFewPeriods` which columns of a cross-section may be the index of a panel."""
    try:
        yield
    except TooFewPeriods as error:
        first = {name: np.asarray(panels[name][0]).ravel() for name in panels}
        remedy = remedy_for_cross_section(first) if panels.n_periods == 1 else ""
        if not remedy:
            raise
        raise TooFewPeriods(f"{str(error).partition('; ')[0]}; {remedy}") from error


@contextlib.contextmanager
def readable_errors(what: str) -> Iterator[None]:
    """Turn an exception of user code, a tracer error above all, into a sentence."""
    try:
        yield
    except McsimError as error:
        if str(error).startswith(what):
            raise
        raise type(error)(f"{what}: {error}") from error
    except (jax.errors.JAXTypeError, jax.errors.JAXIndexError) as error:
        raise InputError(
            f"{what}: it cannot be traced by JAX ({type(error).__name__}): it branches on, "
            "converts or indexes by traced values; use jax.numpy, or put @mcsim.host above "
            "a function of frames"
        ) from error
    except Exception as error:
        raise InputError(
            f"{what}: {type_and_message(error)}; it was called with a key and traced arrays: "
            "use jax.numpy, or put @mcsim.host above a function of frames"
        ) from error
