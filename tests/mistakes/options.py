"""Mistakes in the options of DGPs, assignments, schemas and variances."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

import mcsim
from mcsim import Column, Panel, Sample
from mcsim.dgps import (
    Bootstrap,
    FactorModel,
    LinearIV,
    PotentialOutcomes,
    at_random,
    by_cohort,
    by_path,
    by_probability,
    by_unit_factors,
    permuted,
    with_effect,
)
from mcsim.estimators import fixed_effects, imputation, ols
from mcsim.generators import Autoregressive, GaussianCopula, UnitBootstrap
from mcsim.testing import check_dgp, exact_estimator
from mistakes import Mistake

KEY = mcsim.key(0)
RNG = np.random.default_rng(0)

Do = Callable[[Path], object]

D = np.arange(40) % 2 * 1.0
CROSS = Panel({"d": D, "kind": np.arange(40) % 3 * 1.0, "x": RNG.normal(size=40), "y": D + 1})
WAVES = Panel(
    {
        "y": RNG.normal(size=(20, 6)),
        "x": RNG.normal(size=(20, 6)),
        "state": np.arange(20)[:, None] // 5 + np.zeros(6),
        "d": ((np.arange(6) >= 3) & (np.arange(20)[:, None] < 10)) * 1.0,
    }
)
HOLED = WAVES.with_columns({"x": np.where(np.arange(120).reshape(20, 6) == 7, np.nan, 1.0)})
GAPS = Panel(dict(WAVES), np.arange(120).reshape(20, 6) != 7)


def outcomes(*given: str, panel: Panel = CROSS, also: Any = (), **options: Any) -> Do:
    """Make potential outcomes of a bootstrap that was fitted given these columns."""

    def do(_: Path) -> object:
        fitted = UnitBootstrap().fit(KEY, panel, given=given, progress=False)
        parts = {"outcome": "y", "treatment": "d", "n_treated": 5, "n_control": 5, **options}
        return PotentialOutcomes((fitted, *also) if also else fitted, **parts)

    return do


def other_data() -> Any:
    """Fit a generator to a table whose y has other bounds."""
    other = CROSS.with_columns({"y": 3 * np.asarray(CROSS["y"])})
    return UnitBootstrap().fit(KEY, other, given=["d"], progress=False)


def in_order(*order: str) -> Do:
    """Make potential outcomes of x, from a generator that draws columns in this order."""
    fitted = SimpleNamespace(
        sample=None, schema=mcsim.infer_schema(CROSS), given=("d",), order=order
    )
    numbers = {"n_treated": 5, "n_control": 5}
    return lambda _: PotentialOutcomes(fitted, outcome="x", treatment="d", **numbers)


def column(*words: Any, **options: Any) -> Do:
    """Make a column of a schema."""
    return lambda _: Column("wage", *words, **options)


def treat(assignment: Any, panel: Panel = WAVES, **options: Any) -> Do:
    """Impose an effect on a panel."""
    parts = {"outcome": "x", "assignment": assignment, "untreated": "as is", **options}
    return lambda _: with_effect(panel, **parts)


def factors(panel: Panel = WAVES, outcome: str = "y", rank: int = 1, **options: Any) -> Do:
    return lambda _: FactorModel.fit(panel, outcome, rank=rank, **options)


def likely(indicator: str = "d", panel: Panel = WAVES, **options: Any) -> Do:
    return lambda _: by_unit_factors(panel, "y", indicator, **{"rank": 1, "start": 3, **options})


def learn(panel: Panel, *given: str, **options: Any) -> Do:
    """Fit a copula."""
    return lambda _: GaussianCopula(**options).fit(KEY, panel, given=given, progress=False)


def separated() -> Panel:
    """Return a panel of one factor, whose loadings say who is treated."""
    level = np.where(np.arange(20) < 10, 1.0, 3.0)[:, None] * np.arange(1.0, 7.0)
    return WAVES.with_columns({"y": level + 0.01 * RNG.normal(size=(20, 6))})


def estimate(estimator: Any, panel: Panel = WAVES) -> Do:
    return lambda _: mcsim.estimate(estimator, panel)


def read(text: str, **options: Any) -> Do:
    """Read a file with this content below the names x and y."""

    def do(folder: Path) -> object:
        (folder / "some.csv").write_text(f"x;y\n{text}")
        return mcsim.read_table(folder / "some.csv", **options)

    return do


def infinite(key: Any, design: Any) -> Sample:
    return Sample(Panel({"y": jnp.array([1.0, jnp.inf])}), {})


class Doubtful:
    """A DGP whose truth has no Monte Carlo error."""

    def __call__(self, key: Any, design: Any) -> Sample:
        return Sample(Panel({"y": jax.random.normal(key, (5,))}), {})

    def truth(self, key: Any, design: Any) -> dict[str, float]:
        return {"mean": 1.0}


SEEN: list[int] = []


def counting(rng: Any, design: Any) -> tuple[pd.DataFrame, dict[str, float]]:
    SEEN.append(1)
    return pd.DataFrame({"y": [1.0, float(len(SEEN))]}), {}


def read_a_folder(folder: Path) -> object:
    (folder / "a.csv").mkdir()
    return mcsim.read_table("a.csv")


def write_twice(folder: Path) -> object:
    (folder / "twice.csv").write_text("y, y\n1,2\n")
    return mcsim.read_table("twice.csv")


MISTAKES = [
    # Potential outcomes
    Mistake("no generator", lambda _: PotentialOutcomes((), outcome="y", treatment="d",
            n_treated=5, n_control=5), "generators: got none, expected at least one"),
    Mistake("a trainer for a generator", lambda _: PotentialOutcomes(GaussianCopula(), outcome="y",
            treatment="d", n_treated=5, n_control=5),
            "generators: got GaussianCopula, expected fitted generators"),
    Mistake("a treatment that is no indicator", outcomes("kind", treatment="kind"),
            "treatment: 'kind' is"),
    Mistake("an outcome that is not drawn last", in_order("x", "y"),
            "outcome: 'x' is not the column that the generator draws last, 'y'"),
    Mistake("a generator that draws the treatment", outcomes(),
            "generators: fitted with given=[], expected given=['d']"),
    Mistake("generators of two data sets", outcomes("d", also=[other_data()]),
            "generators: their schemas differ"),
    Mistake("an unknown coupling", outcomes("d", coupling="ranks"),
            "coupling: got 'ranks'; did you mean 'rank'?"),
    Mistake("an effect that is infinite", outcomes("d", effect=np.inf), "effect: got inf"),
    # Columns of schemas
    Mistake("an unknown kind of column", column("continous", 0.0, 1.0),
            "column 'wage': kind 'continous'; did you mean 'continuous'?"),
    Mistake("bounds that cross", column("continuous", 1.0, 0.0),
            "column 'wage': lower 1.0 exceeds upper 0.0"),
    Mistake("mass points in no order", column("continuous", 0.0, 5.0, mass_points=(2.0, 1.0)),
            "column 'wage': mass points (2.0, 1.0) must ascend"),
    Mistake("a category without levels", column("categorical", 0.0, 2.0),
            "column 'wage': a categorical column needs its levels"),
    # Assignments
    Mistake("probabilities in no column", treat(by_probability("stat", start=3)),
            "p: got 'stat'; did you mean 'state'?"),
    Mistake("weights that are infinite", treat(by_path(column="x", start=3, weights=[np.inf] * 6)),
            "weights: got numbers that are not finite"),
    Mistake("weights that are words", lambda _: by_path(column="x", start=3, weights="early"),
            "weights: got 'early', expected a number, or one for each period"),
    Mistake("adopters in no column", likely("treated"), "indicator: got 'treated'"),
    Mistake("a strength that is infinite", likely(strength=np.inf), "strength: got inf"),
    Mistake("factors that tell who adopted", likely(panel=separated()),
            "indicator: the factors separate those who adopted from those who did not"),
    Mistake("clusters that are not shuffled", treat(by_cohort({3: 2}, cluster="state",
            shuffle=False)), "cluster: got a column with shuffle=False"),
    Mistake("a cohort of nobody", treat(by_cohort({3: 0.001})),
            "cohorts: got sizes [0] of 20, expected at least 1 each"),
    Mistake("treatments of many doses", treat(permuted(), treatment="state"),
            "treatment: 'state' has other values than 0 and 1"),
    Mistake("an unknown truth", treat(at_random(n_treated=4, start=3), truth="populations"),
            "truth: got 'populations'; did you mean 'population'?"),
    # DGPs of panels
    Mistake("factors of a panel with gaps", factors(GAPS), "panel: some cells are not observed"),
    Mistake("a name for several", factors(carry="state"), "carry: got 'state', expected names"),
    Mistake("more lags than periods", factors(lags=5), "lags: got 5, expected 0 to 4"),
    Mistake("a trait in no column", factors(carry=["stat"]),
            "carry: got 'stat'; did you mean 'state'?"),
    Mistake("a trait that varies", factors(carry=["x"]), "carry: 'x' varies within units"),
    Mistake("an unknown kind of instruments", lambda _: LinearIV(instruments="randon"),
            "instruments: got 'randon'; did you mean 'random'?"),
    Mistake("a slope that is infinite", lambda _: LinearIV(beta=np.inf),
            "beta: got inf, expected a finite number"),
    Mistake("a number of units with strata", lambda _: Bootstrap(WAVES, strata="state", n_units=8),
            "n_units: got 8 with strata, whose sizes are kept"),
    # Trainers and data
    Mistake("a stratum of everybody", learn(CROSS.with_columns({"d": np.ones(40)}), "d"),
            "given: ['d'] is constant"),
    Mistake("groups of what is given", learn(CROSS, "kind", cluster="kind"),
            "cluster: 'kind' must be one of several columns"),
    Mistake("groups that are too few", learn(WAVES.with_columns({"state": np.zeros((20, 6))}),
            cluster="state"), "cluster: column 'state' has 1 groups"),
    Mistake("a seed for a key", lambda _: GaussianCopula().fit(1, WAVES),
            "key: got 1, expected one key, such as mcsim.key(0)"),
    Mistake("a column of nothing", lambda _: mcsim.infer_schema(
            WAVES.with_columns({"x": np.full((20, 6), np.nan)})),
            "column 'x': got no finite value"),
    Mistake("a dictionary for a frame", lambda _: mcsim.from_frame({"y": [1.0]}),
            "frame: got dict, expected a pandas DataFrame"),
    Mistake("missing cells to drop", lambda _: mcsim.from_frame(pd.DataFrame({"y": [1.0]}),
            missing="drop"), "missing: got 'drop', expected 'error' or 'keep'"),
    Mistake("two columns of one name", write_twice,
            "path: twice.csv has more than one column of the name 'y'"),
    Mistake("a folder for a file", read_a_folder, "path: a.csv is a folder, expected a file"),
    Mistake("one sign for thousands and decimals", read("1;5\n", sep=";", thousands="."),
            "thousands: got '.', which is the decimal sign as well"),
    Mistake("cells that are missing", learn(HOLED), "column 'x': 1 cells are missing"),
    Mistake("groups that are missing", learn(HOLED.with_columns({"x": WAVES["x"], "state":
            np.where(np.arange(20) == 3, np.nan, np.arange(20) // 5)[:, None] + np.zeros(6)}),
            cluster="state", missing="model"), "  - cluster: column 'state' is missing in 1 of 20"),
    Mistake("a table with masked cells", lambda _: Autoregressive().fit(
            KEY, Panel(dict(CROSS), np.arange(40)[:, None] != 3), given=["d"]),
            "panel: some cells are masked"),
    # DGPs under test
    Mistake("a DGP that draws infinite values", lambda _: check_dgp(infinite),
            "dgp: column 'y' is not finite"),
    Mistake("a truth without its error", lambda _: mcsim.run(
            mcsim.Study(Doubtful(), exact_estimator()), reps=4, workers=0, progress=False),
            "dgp 'doubtful': truth(key, design) returned {'mean': 1.0}, expected"),
    Mistake("a DGP that has a memory", lambda _: check_dgp(mcsim.host(counting)),
            "dgp: column 'y' differs between two draws of one key"),
    # Variances
    Mistake("a name of another library", lambda _: ols("y ~ x", vcov="robust"),
            "vcov: got 'robust'; here it is called 'HC1'"),
    Mistake("a variant that is not there", lambda _: ols("y ~ x", vcov="HC1:BM"),
            "vcov: 'HC1:BM': HC1 has no variant 'BM'"),
    Mistake("an argument that is not needed", lambda _: ols("y ~ x", vcov="HC1(2)"),
            "vcov: 'HC1(2)': HC1 takes no argument, got (2)"),
    Mistake("lags that are words", lambda _: fixed_effects("y ~ x | unit", vcov="NW(two)"),
            "vcov: 'NW(two)': got 'two', expected a number of lags"),
    Mistake("two clusters for one", lambda _: ols("y ~ x", vcov="CR2(unit + time)"),
            "vcov: 'CR2(unit + time)': got clusters 'unit + time', expected one"),
    Mistake("clusters in no column", estimate(ols("y ~ x", vcov="CR1(stat)")),
            "estimator 'ols': cluster: 'stat' is not a column of the panel; did you mean 'state'?"),
    Mistake("an event time twice", lambda _: imputation("y ~ d", horizons=[0, 0]),
            "horizons: got (0, 0), expected each once"),
]  # fmt: skip
