"""Ensembles: one generator per key, on folds, bootstrap samples or all rows of the same data.

A fit is one draw from the distributions compatible with the data; the disagreement of members is
the part of a study's uncertainty that more replications never remove.
"""

import inspect
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from mcsim._core.calls import with_remedies
from mcsim._core.records import Panel, require_panel
from mcsim._data.schema import Schema
from mcsim.errors import InputError, did_you_mean
from mcsim.generators._training.trainer import Trainer


@with_remedies()
def fit_many(
    trainer: Any,
    keys: Array,
    panel: Panel,
    *,
    given: Sequence[str] = (),
    schema: Schema | None = None,
    resample: str | None = "folds",
    progress: bool = True,
) -> list[Any]:
    """Fit an ensemble of generators: one program, compiled once.

    Parameters
    ----------
    trainer : VAE, WGAN or any other trainer
        The configuration.
    keys : array of keys (member,)
        One per member, for instance ``jax.random.split(key, 5)``.
    panel : Panel
        The data.
    given, schema, progress
        As in the trainer's ``fit``.
    resample : {"folds", "bootstrap", None}
        The training rows of a member. ``"folds"``: all but its fold; folds are as many as members
        and stratified by the discrete given columns; ``"bootstrap"``: as many rows, drawn with
        replacement within the same strata, and duplicates of a row count as one; None: all rows,
        so that members differ by key alone. If the trainer has a ``cluster``, whole clusters are
        held out or drawn.

    Returns
    -------
    list of fitted generators
        One per key; ``rows`` holds its training rows.

    Raises
    ------
    InputError
        For fewer than two folds, fewer rows in a stratum (or clusters) than folds, a bootstrap
        sample of one row only, a sample of a `MacroPanel`; and as the trainer's ``fit``.

    References
    ----------
    Athey, Imbens, Metzger & Munro (2024), Table 9: bias and coverage differ far more between fits
    than between replications.

    Examples
    --------
    >>> import jax, numpy as np
    >>> from mcsim.generators import WGAN
    >>> rng = np.random.default_rng(0)
    >>> treat = np.repeat([0.0, 1.0], 30)
    >>> panel = Panel({"treat": treat, "wage": np.exp(rng.normal(2 + 0.1 * treat, 0.5))})
    >>> trainer = WGAN(hidden=(8,), critic_hidden=(8,), steps=3, batch_size=16, critic_steps=1)
    >>> keys = jax.random.split(jax.random.key(0), 3)
    >>> ensemble = fit_many(trainer, keys, panel, given=["treat"], progress=False)
    >>> ensemble[0]
    FittedGenerator(WGAN: wage given treat; fit on 40 rows)
    """
    _require_trainer(trainer)
    require_panel(panel)
    keys = jnp.asarray(keys)
    if keys.ndim != 1 or not jnp.issubdtype(keys.dtype, jax.dtypes.prng_key) or not len(keys):
        raise InputError(
            f"keys: got shape {keys.shape} and dtype {keys.dtype}, expected keys of shape "
            "(member,), as mcsim.keys(seed=0, n=5) gives"
        )
    if resample not in ("folds", "bootstrap", None):
        raise InputError(f"resample: got {resample!r}{did_you_mean(str(resample), _KINDS)}")
    rows = _resampled(keys, panel, given, resample, _cluster_of(trainer))
    return trainer.fit_members(keys, panel, rows, given=given, schema=schema, progress=progress)


def _require_trainer(trainer: Any) -> None:
    if inspect.isclass(trainer):
        raise InputError(
            f"trainer: got the class {trainer.__name__}, expected {trainer.__name__}()"
        )
    if not hasattr(trainer, "fit_members"):
        raise InputError(f"trainer: got {type(trainer).__name__}, expected one, such as VAE()")


def _cluster_of(trainer: Any) -> str | None:
    return trainer.cluster if isinstance(trainer, Trainer) else None


_KINDS = ("folds", "bootstrap", "None")
_DISCRETE = 16  # a given column with more values does not stratify


def _resampled(
    keys: Array, panel: Panel, given: Sequence[str], resample: str | None, cluster: str | None
) -> list[np.ndarray | None]:
    """Return each member's rows, a subset or with repetitions, by row or cluster."""
    if resample is None:
        return [None] * len(keys)
    group = np.arange(panel.n_units)
    clustered = cluster is not None and cluster in panel  # `fit_members` refuses other names
    if clustered:
        group = np.unique(np.asarray(panel[str(cluster)])[:, 0], return_inverse=True)[1].reshape(-1)
    strata = np.zeros(group.max() + 1, np.int64) if clustered else _strata(panel, given)
    if resample == "folds":
        said = "panel has {} clusters" if clustered else "smallest stratum has {} rows"
        chosen = _folds(keys[0], strata, len(keys), said)
    else:
        chosen = [_bootstrap(key, strata) for key in keys]
    if not clustered:
        return list(chosen)
    times = [np.bincount(own, minlength=len(strata))[group] for own in chosen]
    return [np.repeat(np.arange(panel.n_units), own) for own in times]


def _strata(panel: Panel, given: Sequence[str]) -> np.ndarray:
    """Return each row's stratum: the joint value of the given columns with few values."""
    given = [given] if isinstance(given, str) else given
    columns = [np.asarray(panel[name])[:, 0] for name in given if name in panel]
    columns = [values for values in columns if len(np.unique(values)) <= _DISCRETE]
    if not columns:
        return np.zeros(panel.n_units, np.int64)
    return np.unique(np.stack(columns, axis=1), axis=0, return_inverse=True)[1].reshape(-1)


def _rng(key: Array, purpose: int) -> np.random.Generator:
    words = np.asarray(jax.random.key_data(jax.random.fold_in(key, purpose)))
    return np.random.default_rng(words.ravel().tolist())


def _folds(key: Array, strata: np.ndarray, count: int, said: str) -> list[np.ndarray]:
    """Return, for each fold, the rows outside it, ascending; fold sizes differ by one at most."""
    if count < 2:
        raise InputError(
            "keys: got 1 with resample='folds', expected at least 2; pass more keys or "
            "resample=None"
        )
    smallest = np.bincount(strata).min()
    if smallest < count:
        raise InputError(
            f"resample='folds': the {said.format(smallest)}, expected at least one for "
            f"each of {count} folds; pass fewer keys or resample='bootstrap'"
        )
    rng = _rng(key, 1)
    shuffled = rng.permutation(len(strata))
    dealt = shuffled[np.argsort(strata[shuffled], kind="stable")]
    fold = np.empty(len(strata), np.int64)
    fold[dealt] = np.arange(len(strata)) % count
    return [np.flatnonzero(fold != left_out) for left_out in range(count)]


def _bootstrap(key: Array, strata: np.ndarray) -> np.ndarray:
    rng = _rng(key, 2)
    groups = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
    return np.sort(np.concatenate([rng.choice(group, len(group)) for group in groups]))
