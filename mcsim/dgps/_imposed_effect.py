"""The DGP with a known effect on top of untreated outcomes: its samples and its truth."""

from dataclasses import dataclass, is_dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from mcsim._core.averages import ATT, Average, read_average
from mcsim._core.design import Design
from mcsim._core.protocols import described
from mcsim._core.records import Panel, Sample
from mcsim._data.schema import Schema
from mcsim.dgps._effects import periods_treated, totals_by, true_average
from mcsim.dgps._ensemble import FITTED, FIXED, ONE_FIT, is_generator
from mcsim.dgps._fields import brief, field_names, with_factors
from mcsim.errors import InputError, did_you_mean, printable

TruthOf = Literal["sample", "population"]

_TRUTH_DRAWS = 2**12  # samples drawn for a population ATT
_TRUTH_BATCH = 2**6  # of them at once

_ALL = Average("simple")


@dataclass(frozen=True)
class WithEffect:
    """A DGP of a source's outcomes plus a known effect in the treated cells; see `with_effect`.

    Attributes
    ----------
    source, outcome, assignment, effect, treatment, n_units, n_periods, schema
        As in `with_effect`.
    truth_of : {"sample", "population"}
        Whether the truth is the average effect in each sample or in the population.
    estimands : tuple of str
        Further averages that have a truth.
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
        """Default name in a study."""
        return "with_effect"

    @property
    def factors(self) -> tuple[str, ...] | None:
        """Factors of a design that the DGP reads; None if its source may read any."""
        drawn = is_generator(self.source)
        alone = drawn or isinstance(self.source, Panel)
        source = () if alone else described(self.source).factors
        if source is None:
            return None
        chosen = field_names(self.assignment) if is_dataclass(self.assignment) else ()
        sizes = ("n_units", "n_periods") if drawn else ()
        return (*source, *chosen, "effect", "effect_scale", *sizes)

    @property
    def synonyms(self) -> tuple[str, ...]:
        """Second names of the truth, which are no estimands of their own."""
        return (self.treatment,)

    @property
    def truth_kind(self) -> str:
        """The truth in words."""
        where = "each sample" if self.truth_of == "sample" else "all samples"
        return f"the effect that the design imposed, over the treated cells of {where}"

    @property
    def summary(self) -> str:
        """One line for the head of a report."""
        source = described(self.source).summary or repr(self.source)
        return f"{source}; {self.treatment}: {brief(self.assignment)}; effect: {brief(self.effect)}"

    @property
    def caveats(self) -> tuple[str, ...]:
        """Conclusions that results do not support, as sentences."""
        own = (*described(self.source).caveats, *described(self.assignment).caveats)
        if is_generator(self.source):
            return (ONE_FIT, FITTED, *own)
        return (FIXED, *own) if isinstance(self.source, Panel) else own

    @property
    def common_shocks(self) -> str | None:
        """Whether a generator repeats the common shocks of its data or redraws them."""
        return described(self.source).common_shocks

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
        found = described(self.source).truth
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
        """Return the effect under its name and, as regressions label it, under the treatment's."""
        return {ATT: att} | dict.fromkeys(self.synonyms, att)

    def _draw(self, key: Key[Array, ""], design: Design) -> tuple[Panel, Array, Any, dict]:
        """Draw the untreated panel, treatment, effects of its cells, and the source's truths."""
        source_key, assignment_key, effect_key = jax.random.split(key, 3)
        panel, known = self._untreated(source_key, design)
        if self.outcome not in panel:
            raise InputError(f"outcome: got {self.outcome!r}{did_you_mean(self.outcome, panel)}")
        chosen = self.assignment
        assignment: Any = with_factors(chosen, design) if is_dataclass(chosen) else chosen
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
        """Return the design's effect, or the DGP's; refuse to replace a path by a number."""
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
    """Split a DGP into arrays, a program's arguments, and its constants, such as functions."""
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
    """Return whether a part is a constant of programs: no pytree, and no number as an effect."""
    return jax.tree_util.all_leaves([part]) and (name != "effect" or callable(part))
