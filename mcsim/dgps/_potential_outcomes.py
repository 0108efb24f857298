"""A learned DGP with a known effect: covariates given treatment, outcome given both.

After Athey, Imbens, Metzger & Munro (2024), Journal of Econometrics 240: 105076.
"""

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, replace
from functools import partial
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from mcsim._core.calls import with_remedies
from mcsim._core.design import Design
from mcsim._core.pytree import pytree
from mcsim._core.records import Panel, Sample
from mcsim._data.schema import Schema
from mcsim.dgps._ensemble import FITTED, ONE_FIT
from mcsim.dgps._fields import described_generator, faults_of_sizes
from mcsim.errors import InputError, did_you_mean, printable, raise_all

Coupling = Literal["rank", "independent"]

_TRUTH_CHUNK = 2**15  # rows drawn at once for the truth


@pytree("generators")
@with_remedies()
@dataclass(frozen=True)
class PotentialOutcomes:
    """Synthetic experiments from a generator that was fitted with the treatment given.

    A sample holds the design's numbers of treated and controls; covariates are drawn given the
    treatment, the outcome given both. The truth is the generator's own population effect on the
    treated, from a large draw in which both arms share their noise, with its Monte Carlo error; or
    an effect that the design imposes.

    Parameters
    ----------
    generators : generator or sequence of generators
        Fitted with ``given=[treatment]``. A sequence (see `mcsim.fit_many`) makes an ensemble,
        whose members are cells of a study, identified by the factor ``generator``.
    outcome, treatment : str
        Names of the columns.
    n_treated, n_control : int
        Sizes of the arms; the design's factors of these names take precedence.
    coupling : {"rank", "independent"}
        Dependence of the two potential outcomes of a unit: equal ranks, or independence given the
        covariates. Data do not identify it; it affects the spread of unit-level effects, not the
        ATT.
    effect : float or callable, optional
        Impose this effect: a number, or a function of the panel of covariates that returns the
        effect of every unit (unit,). Outcomes are then untreated ones plus the effect.
    truth_draws : int
        Treated units drawn for the truth.

    Raises
    ------
    InputError
        For unknown columns, a generator that was not fitted given the treatment, empty arms.

    References
    ----------
    Athey, Imbens, Metzger & Munro (2024), Journal of Econometrics 240: 105076, section 3.

    Examples
    --------
    A study of a fitted ensemble: ``Study(dgp=PotentialOutcomes(fits, outcome="re78",
    treatment="treat", n_treated=185, n_control=260), estimators=...)``.
    """

    generators: Any
    _: KW_ONLY
    outcome: str
    treatment: str
    n_treated: int
    n_control: int
    coupling: Coupling = "rank"
    effect: float | Callable[[Panel], Any] | None = None
    truth_draws: int = 2**19

    def __post_init__(self):
        listed = isinstance(self.generators, (list, tuple))
        fits = tuple(self.generators) if listed else (self.generators,)
        object.__setattr__(self, "generators", fits)
        raise_all(_faults(self))

    def __repr__(self) -> str:
        return printable(
            f"PotentialOutcomes({self.outcome} given {self.treatment}, {len(self.generators)} "
            f"generators, {self.n_treated} treated and {self.n_control} controls)"
        )

    @property
    def factors(self) -> tuple[str, ...]:
        """Factors of a design that the DGP reads."""
        return ("n_treated", "n_control")

    @property
    def schema(self) -> Schema:
        """The generators' schema."""
        return self.generators[0].schema

    @property
    def truth_kind(self) -> str:
        """Description of the truth, in words."""
        if self.effect is not None:
            return "the effect that the design imposed"
        return f"the generator's population ATT, from {self.truth_draws:,} treated draws"

    @property
    def summary(self) -> str:
        """One line for the head of a report."""
        return (
            f"{len(self.generators)} x {_kind(self.generators[0])}; potential outcomes "
            f"coupled: {self.coupling}; truth: {self.truth_kind}"
        )

    @property
    def caveats(self) -> tuple[str, ...]:
        """Conclusions that results do not support, as sentences."""
        return (
            *((ONE_FIT,) if len(self.generators) == 1 else ()),
            FITTED,
            "The learned effect is the generator's, not the data's: read it beside the estimates "
            "on the real data.",
        )

    def members(self) -> Mapping[int, "PotentialOutcomes"]:
        """Return the ensemble's members by number; one fit is member 0."""
        return {i: replace(self, generators=fit) for i, fit in enumerate(self.generators)}

    def __call__(self, key: Key[Array, ""], design: Design) -> Sample:
        """Draw the observed data of one experiment."""
        n_treated, n_control = self._arms(design)
        treated = jnp.concatenate([jnp.ones(n_treated), jnp.zeros(n_control)])
        if self.effect is None:
            panel = self._generator.sample(
                key, n_treated + n_control, given={self.treatment: treated}
            )
            return Sample(panel, {})
        both = self.potential_outcomes(key, n_treated, n_control)
        observed = jnp.where(treated[:, None] == 1, both["y1"], both["y0"])
        names = [name for name in both if name not in ("y0", "y1")]
        return Sample(both.select(names).with_columns({self.outcome: observed}), {})

    def potential_outcomes(self, key: Key[Array, ""], n_treated: int, n_control: int) -> Panel:
        """Draw covariates, treatment and both potential outcomes.

        Parameters
        ----------
        key : Key
            Key of the draw.
        n_treated, n_control : int
            Sizes of the arms.

        Returns
        -------
        Panel
            Covariates and treatment, and the columns y0 and y1 (unit, 1): the treated come first.
        """
        covariate_key, outcome_key = jax.random.split(key)
        treated = jnp.concatenate([jnp.ones(n_treated), jnp.zeros(n_control)])
        drawn = self._generator.sample(
            covariate_key, n_treated + n_control, given={self.treatment: treated}
        )
        covariates = drawn.select([name for name in drawn if name != self.outcome])
        y0 = self._outcome(outcome_key, covariates, 0.0)
        if self.effect is not None:
            effect = self.effect(covariates) if callable(self.effect) else self.effect
            shape = (n_treated + n_control, 1)
            y1 = y0 + jnp.broadcast_to(jnp.reshape(jnp.asarray(effect, float), (-1, 1)), shape)
        else:
            other = jax.random.fold_in(outcome_key, 1)
            y1 = self._outcome(outcome_key if self.coupling == "rank" else other, covariates, 1.0)
        return covariates.with_columns({"y0": y0, "y1": y1})

    def truth(self, key: Key[Array, ""], design: Design) -> dict[str, tuple[float, float]]:
        """Return the population effect on the treated and its Monte Carlo standard error.

        Parameters
        ----------
        key : Key
            Key of the large draw.
        design : Design
            Its factors do not enter; the population is the generator's.
        """
        if self.effect is not None and not callable(self.effect):
            return {"att": (float(self.effect), 0.0)}
        chunks = -(-self.truth_draws // _TRUTH_CHUNK)
        keys = jax.random.split(key, chunks)
        size = min(_TRUTH_CHUNK, self.truth_draws)
        population = replace(self, coupling="rank")  # noise in common: the same mean, less error
        moments = np.asarray([_effect_moments(population, k, size) for k in keys])
        n = chunks * size
        mean = moments[:, 0].mean()
        variance = moments[:, 1].mean() - mean**2
        return {"att": (float(mean), float(np.sqrt(max(variance, 0.0) / n)))}

    @property
    def _generator(self) -> Any:
        if len(self.generators) > 1:
            raise InputError("an ensemble draws nothing itself; take one of its members()")
        return self.generators[0]

    def _arms(self, design: Design) -> tuple[int, int]:
        return design.get("n_treated", self.n_treated), design.get("n_control", self.n_control)

    def _outcome(
        self, key: Key[Array, ""], covariates: Panel, arm: float
    ) -> Float[Array, "unit 1"]:
        treatment = jnp.full((covariates.n_units, 1), arm)
        given = {**covariates, self.treatment: treatment}
        return self._generator.sample(key, covariates.n_units, given=given)[self.outcome]


@partial(jax.jit, static_argnums=2)
def _effect_moments(dgp: PotentialOutcomes, key: Key[Array, ""], n_treated: int) -> Any:
    """Return the means of the effects on the treated and of their squares."""
    both = dgp.potential_outcomes(key, n_treated, 0)
    effects = (both["y1"] - both["y0"])[:, 0]
    return jnp.stack([effects.mean(), (effects**2).mean()])


def _kind(generator: Any) -> str:
    """Return the trainer's name if the generator has it, else the generator's own."""
    config = described_generator(generator).config
    return type(generator if config is None else config).__name__


def _faults(dgp: PotentialOutcomes) -> list[str]:
    if not dgp.generators:
        return ["generators: got none, expected at least one fitted generator"]
    needed = ("sample", "schema", "given")
    lacking = [
        type(g).__name__ for g in dgp.generators if not all(hasattr(g, name) for name in needed)
    ]
    if lacking:
        return [f"generators: got {lacking[0]}, expected fitted generators (trainer.fit gives one)"]
    return [*_faults_of_columns(dgp), *_faults_of_options(dgp)]


def _faults_of_columns(dgp: PotentialOutcomes) -> list[str]:
    """Return the faults of outcome, treatment and generators, taken together."""
    schema, given = dgp.generators[0].schema, list(dgp.generators[0].given)
    roles = (("outcome", dgp.outcome), ("treatment", dgp.treatment))
    faults = [
        f"{role}: got {name!r}{did_you_mean(name, schema.names)}"
        for role, name in roles
        if name not in schema.names
    ]
    if dgp.treatment in schema.names and schema[dgp.treatment].kind != "binary":
        kind = schema[dgp.treatment].kind
        faults.append(
            f"treatment: {dgp.treatment!r} is {kind}, expected a column of zeros and ones"
        )
    order = described_generator(dgp.generators[0]).order
    last = order[-1] if order else dgp.outcome
    if dgp.outcome in schema.names and dgp.outcome != last:
        faults.append(
            f"outcome: {dgp.outcome!r} is not the column that the generator draws last, {last!r}; "
            "put it last in the panel or in the trainer's order"
        )
    if any(dgp.treatment not in g.given for g in dgp.generators):
        faults.append(
            f"generators: fitted with given={given}, expected given=[{dgp.treatment!r}], so that "
            "covariates can be drawn by arm"
        )
    if any(g.schema != schema for g in dgp.generators):
        faults.append("generators: their schemas differ, expected fits of one data set")
    return faults


def _faults_of_options(dgp: PotentialOutcomes) -> list[str]:
    faults = faults_of_sizes(dgp, {"n_treated": 1, "n_control": 1})
    if dgp.coupling not in get_args(Coupling):
        options = get_args(Coupling)
        faults.append(f"coupling: got {dgp.coupling!r}{did_you_mean(dgp.coupling, options)}")
    if isinstance(dgp.effect, float) and not np.isfinite(dgp.effect):
        faults.append(f"effect: got {dgp.effect}, expected a finite number")
    if dgp.truth_draws < 1:
        faults.append(f"truth_draws: got {dgp.truth_draws}, expected at least 1")
    return faults
