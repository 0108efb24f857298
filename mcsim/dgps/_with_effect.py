"""A known effect on top of untreated outcomes: placebo laws, power curves, staggered adoption.

After Bertrand, Duflo & Mullainathan (2004), Quarterly Journal of Economics 119: 249-275.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, is_dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from mcsim._averages import ATT, Average, named, read_average
from mcsim._calls import with_remedies
from mcsim._core import Panel, Sample
from mcsim._design import Design
from mcsim._escapes import printable
from mcsim._schema import Schema
from mcsim.dgps._averages import totals_by, true_average
from mcsim.dgps._composition import (
    TruthOf,
    faults_of_composition,
    faults_of_ensemble,
    schema_with_treatment,
)
from mcsim.dgps._effects import periods_treated
from mcsim.dgps._ensemble import FITTED, ONE_FIT, Ensemble, bare, is_generator
from mcsim.dgps._factors import brief, field_names, is_number, under
from mcsim.dgps._permuted import with_treatment
from mcsim.dgps._untreated import FIXED, Untreated, faults_of_untreated, untreated_source
from mcsim.errors import InputError, did_you_mean, faults_of_strings, raise_all

_TRUTH_DRAWS = 2**12  # samples drawn for a population ATT
_TRUTH_BATCH = 2**6  # of them at once

_ALL = Average("simple")


@with_remedies()
def with_effect(
    source: Any,
    *,
    outcome: str,
    assignment: Any,
    effect: Any = 0.0,
    treatment: str = "d",
    untreated: Untreated | None = None,
    truth: TruthOf = "sample",
    horizons: Sequence[int] = (),
    estimands: Sequence[str] = (),
    n_units: int | None = None,
    n_periods: int | None = None,
    schema: Schema | None = None,
) -> "WithEffect | Ensemble":
    """Make a DGP whose outcomes are the source's plus a known effect in the treated cells.

    Parameters
    ----------
    source : Panel, DGP, generator or sequence of generators
        Untreated outcomes: a real panel, which stays as it is while the treatment is drawn anew
        (placebo laws); a DGP of panels; or a fitted generator. A sequence (see `mcsim.fit_many`)
        makes an ensemble, whose members are cells of a study told apart by the factor
        ``generator``.
    outcome : str
        The column that the effect is added to.
    assignment : callable
        ``assignment(key, panel)`` gives zeros and ones (unit, period): `permuted`, `at_random`,
        `in_random_periods`, `by_cohort`, `by_probability`, `by_path`, `by_unit_factors`, or a
        function (a value that is neither makes the sample NaN, so that estimators fail on it). A
        factor of the design that has the name of one of its fields takes that field's place.
    effect : float or callable
        A number, or ``effect(key, exposure, panel)`` that gives the effect of every cell:
        `by_exposure`, `heterogeneous`, or a function. Exposure (unit, period) counts treated
        periods, 1 in a unit's first. A factor ``effect`` of the design takes precedence, so that
        ``grid(effect=[0, .02, .05])`` gives size and power; a factor ``effect_scale`` multiplies,
        for the same with a path.
    treatment : str
        Name of the treatment's column; one that the source has is replaced.
    untreated : {"average", "event", "as is"}, optional
        How the outcomes of a panel that was treated itself become untreated ones; it must be given
        where the panel's column ``treatment`` varies. The estimated average effect is removed from
        all treated cells, or the average effects by event time; or nothing is. It is estimated by
        `mcsim.estimators.imputation`, or is the two-way coefficient where treatment is given up.
        Then all deviations from unit and period means are multiplied by sqrt((G - 1) / (G - 2)), G
        the units (clusters) that are permuted, since the estimate took a part of them along; with
        S strata, by sqrt((G - S) / (G - S - 1)).
    truth : {"sample", "population"}
        The ATT over the treated cells of each sample; or over all samples, computed once per cell
        with its Monte Carlo error (none for a number).
    horizons : sequence of int
        Event times, 0 a unit's first treated period, of which the sample's average effect is a
        truth of its own, ``"att[0]"``, as event studies label it; before treatment it is 0.
    estimands : sequence of str
        Other averages over the sample's treated cells, as estimators label them: means over event
        times ``"att[0..3]"``, with a binned end ``"att[0..1+]"``, the end alone ``"att[1+]"``; over
        cohorts and periods ``"att[group]"``, ``"att[calendar]"``; of one, ``"att[g=3]"``,
        ``"att[t=3]"``.
    n_units, n_periods : int, optional
        Units and periods to draw from a generator, the periods by default as many as it learned;
        factors ``n_units`` and ``n_periods`` take precedence.
    schema : Schema, optional
        The schema of a source that has none of its own, so that host estimators see its names.

    Returns
    -------
    WithEffect or Ensemble
        A DGP. Its truth is ``"att"``, and the same number under the treatment's name, as
        regressions label its coefficient; beside them stands what the source's samples tell.

    Raises
    ------
    InputError
        For a source that is none, an unknown outcome, an assignment that does not fit the panel, a
        panel that was treated itself without ``untreated``.

    Warns
    -----
    UserWarning
        If one unit alone is treated in the panel, whose own error leaves with the effect; if
        `permuted` units differ in their variances before treatment.

    References
    ----------
    Bertrand, Duflo & Mullainathan (2004), Quarterly Journal of Economics 119: 249-275. For
    staggered adoption: de Chaisemartin & D'Haultfoeuille (2020), American Economic Review 110:
    2964-2996.

    Examples
    --------
    Placebo laws on autocorrelated states, and their power:

    >>> import jax
    >>> from mcsim.dgps import ErrorComponents, at_random, by_cohort, by_exposure
    >>> states = ErrorComponents(n_units=50, n_periods=21, beta=None, rho=0.8)
    >>> laws = at_random(n_treated=25, start=(6, 16))
    >>> dgp = with_effect(states, outcome="y", assignment=laws)
    >>> dgp(jax.random.key(0), Design({"effect": 0.02})).panel
    Panel(50 units x 21 periods: y, d)

    Staggered adoption with effects that grow, on noiseless two-way effects:

    >>> effects = ErrorComponents(n_units=9, n_periods=5, beta=None, unit_share=0.5, time_share=0.5)
    >>> cohorts = by_cohort({3: 1 / 3, 1: 1 / 3})
    >>> growing = by_exposure([1, 2, 3, 4])
    >>> dgp = with_effect(effects, outcome="y", assignment=cohorts, effect=growing)
    >>> round(float(dgp(jax.random.key(0), Design()).truth["att"]), 4)
    2.1667
    """
    if is_number(effect):
        effect = float(effect)
    raise_all(_faults_of_lists(horizons, estimands))
    ensemble = isinstance(source, (list, tuple))
    assignment = with_treatment(assignment, treatment)
    times, sizes = (*map(named, horizons), *estimands), (n_units, n_periods)
    dgps = [
        WithEffect(one, outcome, assignment, effect, treatment, truth, times, *sizes, schema)
        for one in map(bare, source if ensemble else [source])
    ]
    raise_all(faults_of_ensemble(source) if ensemble else [])
    found = [
        fault
        for dgp in dgps
        for fault in (*faults_of_composition(dgp), *faults_of_untreated(dgp, untreated))
    ]
    raise_all(list(dict.fromkeys(found)))
    schemas = [schema_with_treatment(dgp) for dgp in dgps]
    sources = [untreated_source(dgp, untreated) for dgp in dgps]
    dgps = tuple(
        replace(dgp, source=one, schema=its)
        for dgp, one, its in zip(dgps, sources, schemas, strict=True)
    )
    return Ensemble(dgps) if ensemble else dgps[0]


def _faults_of_lists(horizons: Any, estimands: Any) -> list[str]:
    faults = faults_of_strings("estimands", estimands)
    if isinstance(horizons, str) or not isinstance(horizons, Collection):
        faults.append(f"horizons: got {horizons!r}, expected event times, e.g. range(-2, 3)")
    return faults


@dataclass(frozen=True)
class WithEffect:
    """A DGP with a known effect; `with_effect` makes it.

    Attributes
    ----------
    source, outcome, assignment, effect, treatment, n_units, n_periods, schema
        As in `with_effect`.
    truth_of : {"sample", "population"}
        Of what the truth is the average effect.
    estimands : tuple of str
        Averages that have a truth beside it.
    """

    definition_name = "mcsim.dgps.with_effect"

    source: Any
    outcome: str
    assignment: Any
    effect: Any
    treatment: str
    truth_of: TruthOf
    estimands: tuple[str, ...]
    n_units: int | None
    n_periods: int | None
    schema: Schema | None

    def __repr__(self) -> str:
        return f"with_effect({printable(self.summary)})"

    @property
    def name(self) -> str:
        """Its name in a study that gives it none."""
        return with_effect.__name__

    @property
    def factors(self) -> tuple[str, ...] | None:
        """The factors of a design that it reads; None if its source may read any."""
        drawn = is_generator(self.source)
        alone = () if drawn or isinstance(self.source, Panel) else None
        source = getattr(self.source, "factors", alone)
        if source is None:
            return None
        chosen = field_names(self.assignment) if is_dataclass(self.assignment) else ()
        sizes = ("n_units", "n_periods") if drawn else ()
        return (*source, *chosen, "effect", "effect_scale", *sizes)

    @property
    def synonyms(self) -> tuple[str, ...]:
        """Names under which the truth stands a second time; they are no estimands of their own."""
        return (self.treatment,)

    @property
    def truth_kind(self) -> str:
        """What the truth is, in words."""
        where = "each sample" if self.truth_of == "sample" else "all samples"
        return f"the effect that the design imposed, over the treated cells of {where}"

    @property
    def summary(self) -> str:
        """One line for the head of a report."""
        source = getattr(self.source, "summary", None) or repr(self.source)
        return f"{source}; {self.treatment}: {brief(self.assignment)}; effect: {brief(self.effect)}"

    @property
    def caveats(self) -> tuple[str, ...]:
        """What a reader may not conclude."""
        own = (
            *getattr(self.source, "caveats", ()),
            *getattr(self.assignment, "caveats", ()),
        )
        if is_generator(self.source):
            return (ONE_FIT, FITTED, *own)
        return (FIXED, *own) if isinstance(self.source, Panel) else own

    @property
    def common_shocks(self) -> str | None:
        """Whether a generator's common shocks are those of its data, or drawn anew."""
        return getattr(self.source, "common_shocks", None)

    def __call__(self, key: Key[Array, ""], design: Design) -> Sample:
        """Draw one sample."""
        panel, treated, effect, known = self._draw(key, design)
        for name in self.estimands:
            if average := read_average(name):
                known[name] = true_average(average, panel, treated, effect)
        if self.treatment in panel.nominal:  # its new values are numbers
            panel = panel.select([name for name in panel if name != self.treatment])
        sample = panel.with_columns(
            {self.outcome: panel[self.outcome] + treated * effect, self.treatment: treated}
        )
        if self.truth_of == "population":
            return Sample(sample, known)
        if jnp.ndim(effect) == 0:
            att = jnp.where(treated.any(), effect, jnp.nan)
        else:
            att = true_average(_ALL, panel, treated, effect)
        return Sample(sample, {**known, **self._named(att)})

    def truth(self, key: Key[Array, ""], design: Design) -> dict[str, tuple[float, float]]:
        """Return the population ATT and its Monte Carlo standard error, where it was asked for.

        Parameters
        ----------
        key : Key
            Key of the draws.
        design : Design
            The cell's factors.
        """
        found: Any = getattr(self.source, "truth", None)
        others: Any = found(key, design) if callable(found) else {}
        own = (ATT, *self.synonyms)
        others = {} if isinstance(others, Panel) else others
        known = {name: value for name, value in others.items() if name not in own}
        effect = self._effect(design)
        if self.truth_of == "sample":
            return known
        if not callable(effect):
            scale = design.get("effect_scale", 1.0)
            return {**known, **self._named((float(effect * scale), 0.0))}
        keys = jax.random.split(key, _TRUTH_DRAWS)
        totals = np.asarray(_population(self, keys, design))
        att = totals[:, 0].sum() / totals[:, 1].sum()
        residual = (totals[:, 0] - att * totals[:, 1]) / totals[:, 1].mean()
        mcse = float(residual.std(ddof=1) / len(residual) ** 0.5)
        return {**known, **self._named((float(att), mcse))}

    def _named(self, att: Any) -> dict[str, Any]:
        """The effect under its name, and as a regression labels it: by the treatment's."""
        return {ATT: att} | dict.fromkeys(self.synonyms, att)

    def _draw(self, key: Key[Array, ""], design: Design) -> tuple[Panel, Array, Any, dict]:
        """The untreated panel, the treatment, its effect in every cell, what is known besides."""
        source_key, assignment_key, effect_key = jax.random.split(key, 3)
        panel, known = self._untreated(source_key, design)
        if self.outcome not in panel:
            raise InputError(f"outcome: got {self.outcome!r}{did_you_mean(self.outcome, panel)}")
        chosen = self.assignment
        assignment: Any = under(chosen, design) if is_dataclass(chosen) else chosen
        shape = panel.n_units, panel.n_periods
        treated = jnp.asarray(assignment(assignment_key, panel), dtype=float)
        _require_shape("assignment", treated, shape)
        treated = jnp.where((treated == 0) | (treated == 1), treated, jnp.nan)
        effect = self._effect(design)
        if callable(effect):
            exposure = (periods_treated(treated, panel.calendar) * treated).astype(int)
            effect = jnp.asarray(effect(effect_key, exposure, panel), dtype=float)
            _require_shape("effect", effect, shape)
            effect = jnp.where(treated > 0, effect, 0.0)
        return panel, treated, effect * design.get("effect_scale", 1.0), known

    def _effect(self, design: Design) -> Any:
        """The design's effect where it has one; a path is not replaced by a number in silence."""
        if "effect" in design and callable(self.effect):
            raise InputError(
                f"effect: the factor 'effect' would take the place of {brief(self.effect)}; leave "
                "one of them out, or vary the size of the path with the factor 'effect_scale'"
            )
        return design.get("effect", self.effect)

    def _untreated(self, key: Key[Array, ""], design: Design) -> tuple[Panel, dict]:
        if isinstance(self.source, Panel):
            return self.source, {}
        source: Any = self.source
        if callable(source):
            sample: Any = source(key, design)
            return sample.panel, dict(sample.truth)
        n_units = design.get("n_units", self.n_units)
        n_periods = design.get("n_periods", self.n_periods)
        if n_units is None:
            raise InputError("n_units: got none for a generator; give n_units=, or a factor of it")
        sizes = (n_units,) if n_periods is None else (n_units, n_periods)
        return source.sample(key, *sizes), {}


@jax.jit
def _population(dgp: WithEffect, keys: Any, design: Design) -> Float[Array, "rep 2"]:
    def totals(key):
        panel, treated, effect, _ = dgp._draw(key, design)
        observed = treated if panel.mask is None else treated * panel.mask
        return jnp.stack(totals_by(observed, effect, axis=(0, 1)))

    return jax.lax.map(totals, keys, batch_size=_TRUTH_BATCH)


def _require_shape(what: str, values: Array, shape: tuple[int, int]) -> None:
    if (came := values.shape) != shape:
        raise InputError(f"{what}: it returned shape {came}, expected (unit, period) = {shape}")


_PARTS = ("source", "assignment", "effect")
_OPTIONS = ("outcome", "treatment", "truth_of", "estimands", "n_units", "n_periods", "schema")


def _flatten(dgp: WithEffect):
    """Parts with arrays are arguments of a program, functions are constants of it."""
    parts = [(name, getattr(dgp, name)) for name in _PARTS]
    fixed = tuple(part if _is_constant(name, part) else None for name, part in parts)
    leaves = [None if _is_constant(name, part) else part for name, part in parts]
    return leaves, (fixed, tuple(getattr(dgp, name) for name in _OPTIONS))


def _unflatten(constants: tuple, leaves: Any) -> WithEffect:
    fixed, options = constants
    parts = [leaf if part is None else part for part, leaf in zip(fixed, leaves, strict=True)]
    dgp = object.__new__(WithEffect)
    for name, value in zip((*_PARTS, *_OPTIONS), (*parts, *options), strict=True):
        object.__setattr__(dgp, name, value)
    return dgp


jax.tree_util.register_pytree_node(WithEffect, _flatten, _unflatten)


def _is_constant(name: str, part: Any) -> bool:
    """Whether a part is no pytree; an effect that is none is a number, and traced."""
    return jax.tree_util.all_leaves([part]) and (name != "effect" or callable(part))
