"""Regressions, a replication: ordinary, two-way, by instruments, dynamic; the wild bootstrap."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .cases import Case, Contestant
from .contests import ALONE, COMPARED, Contest, loop, peer, run_of
from .costs import Here
from .numpy_twins import FewRegressors, TwoWay


def with_statsmodels(formula: str, cov_type: str) -> Callable[[Any], Any]:
    def fit(frame):
        import statsmodels.formula.api as smf

        return smf.ols(formula, frame).fit(cov_type=cov_type)

    return fit


def with_pyfixest(formula: str, vcov: Any) -> Callable[[Any], Any]:
    def fit(frame):
        import pyfixest

        return pyfixest.feols(formula, frame, vcov=vcov)

    return fit


def regression_line(n: int) -> Callable[..., Any]:
    """A cross-section of n units, y = x + noise."""
    import jax

    import mcsim

    def line(key, design):
        x, noise = jax.random.normal(key, (2, n, 1))
        return mcsim.Sample(mcsim.Panel({"y": x + noise, "x": x}), {"x": 1.0})

    return line


def ols_hc1(folder: Path, n: int, reps: int, batch: int) -> tuple[Here, ...]:
    from mcsim.estimators import ols

    contest = Contest(regression_line(n), ols("y ~ x"), ("x", "HC1"), batch)
    twin, frames = FewRegressors(n), contest.frames(10)
    y, x = (contest.arrays[name][:, :, 0] for name in ("y", "x"))

    def both(fit):
        return fit.params["x"], fit.bse["x"]

    return (
        contest.run(reps),
        contest.alone("value", "se"),
        Here(lambda: twin.run(batch), batch, answer=lambda: twin.fit(y, x)[:COMPARED]),
        Here(
            lambda: [twin.run(1) for _ in range(100)],
            100,
            answer=lambda: [twin.fit(y[i : i + 1], x[i : i + 1])[0] for i in range(COMPARED)],
        ),
        loop(with_statsmodels("y ~ x", "HC1"), frames, both),
        loop(with_pyfixest("y ~ x", "HC1"), frames, lambda fit: (fit.coef()["x"], fit.se()["x"])),
    )


def two_way(folder: Path, units: int, periods: int, reps: int, batch: int) -> tuple[Here, ...]:
    from mcsim.dgps import ErrorComponents, at_random, with_effect
    from mcsim.estimators import fixed_effects

    dgp = with_effect(
        ErrorComponents(n_units=units, n_periods=periods),
        outcome="y",
        assignment=at_random(share=0.5, start=periods // 2),
    )
    contest = Contest(dgp, fixed_effects("y ~ d + x | unit + time", term="d"), ("d", "CR1"), batch)
    twin, frames = TwoWay(units, periods), contest.frames(5)
    arrays = [contest.arrays[name] for name in ("y", "d", "x")]

    def of_panel_ols(frame):
        from linearmodels import PanelOLS

        model = PanelOLS(frame["y"], frame[["d", "x"]], entity_effects=True, time_effects=True)
        return model.fit(cov_type="clustered", cluster_entity=True)

    def with_factor_of_fixest(fit):
        """Linearmodels counts all effects, and no factor for the number of clusters."""
        n = units * periods
        own = n / (n - units - periods - 1)
        return fit.params["d"], fit.std_errors["d"] * (twin.factor / own) ** 0.5

    indexed = [frame.set_index(["unit", "time"]) for frame in frames]
    pyfixest = with_pyfixest("y ~ d + x | unit + time", {"CRV1": "unit"})
    return (
        contest.run(reps),
        contest.alone("value", "se"),
        Here(lambda: twin.run(batch), batch, answer=lambda: twin.fit(*arrays)[:COMPARED]),
        Here(
            lambda: [twin.run(1) for _ in range(20)],
            20,
            answer=lambda: [twin.fit(*(a[i : i + 1] for a in arrays))[0] for i in range(COMPARED)],
        ),
        loop(pyfixest, frames, lambda fit: (fit.coef()["d"], fit.se()["d"])),
        loop(of_panel_ols, indexed, with_factor_of_fixest),
    )


def wild_bootstrap(
    folder: Path, units: int, periods: int, resamples: int, batch: int
) -> tuple[Here, ...]:
    from mcsim.dgps import ErrorComponents, at_random, with_effect
    from mcsim.estimators import fixed_effects

    dgp = with_effect(
        ErrorComponents(n_units=units, n_periods=periods),
        outcome="y",
        assignment=at_random(share=0.5, start=periods // 2),
    )
    estimator = fixed_effects("y ~ d + x | unit + time", term="d", vcov="wild", resamples=resamples)
    contest = Contest(dgp, estimator, ("d", "wild"), batch)

    def of_wildboottest(frame):
        fit = with_pyfixest("y ~ d + x | unit + time", {"CRV1": "unit"})(frame)
        return fit.wildboottest(reps=resamples, cluster="unit", param="d", bootstrap_type="11")

    return (
        contest.alone("p_value"),
        loop(of_wildboottest, contest.frames(3), lambda found: [found["Pr(>|t|)"]]),
    )


def two_stage(folder: Path, n: int, reps: int, batch: int) -> tuple[Here, ...]:
    from mcsim.dgps import LinearIV
    from mcsim.estimators import iv_2sls

    contest = Contest(LinearIV(n_units=n), iv_2sls("y ~ 1 | d ~ z1"), ("d", "HC1"), batch)

    def of_iv2sls(frame):
        from linearmodels.iv import IV2SLS

        model = IV2SLS(frame["y"], frame["one"], frame["d"], frame["z1"])
        return model.fit(cov_type="robust", debiased=True)

    frames = [frame.assign(one=1.0) for frame in contest.frames(10)]
    return (
        contest.run(reps),
        contest.alone("value", "se"),
        loop(of_iv2sls, frames, lambda fit: (fit.params["d"], fit.std_errors["d"])),
    )


def dynamic_panel(
    folder: Path, units: int, periods: int, reps: int, batch: int
) -> tuple[Here, ...]:
    from mcsim.dgps import DynamicPanel
    from mcsim.estimators import arellano_bond

    dgp = DynamicPanel(n_units=units, n_periods=periods)
    estimator = arellano_bond("y ~ lag(y) + x", steps=1)
    contest = Contest(dgp, estimator, ("lag(y)", "robust"), batch)

    def of_pydynpd(frame):
        from pydynpd import regression

        command = "y L(1:1).y x | gmm(y, 2:99) iv(x) | onestep nolevel"
        with contextlib.redirect_stdout(None):
            return regression.abond(command, frame, ["unit", "time"])

    frames = contest.frames(3)
    return contest.run(reps), contest.alone("value", "se"), loop(of_pydynpd, frames, None)


TOGETHER = Contestant("NumPy, all samples at once", remark="draws and estimates, stores nothing")
BY_LOOP = Contestant("NumPy, a loop", remark="draws and estimates, stores nothing")


TWO_WAY_PEERS = (
    TOGETHER,
    BY_LOOP,
    peer("pyfixest", "pyfixest", "a formula, more results"),
    peer("linearmodels", "linearmodels", "its own small-sample factor, more results"),
)

CASES = (
    Case(
        "ols",
        "OLS, HC1, n = 100",
        (
            run_of(2**15),
            ALONE,
            TOGETHER,
            BY_LOOP,
            peer("statsmodels", "statsmodels", "a formula, more results"),
            peer("pyfixest", "pyfixest", "a formula, more results"),
        ),
        ols_hc1,
        full={"n": 100, "reps": 2**15, "batch": 1024},
        tiny={"n": 20, "reps": 4, "batch": 4},
        one_cpu=True,
    ),
    *(
        Case(
            f"two-way-{units}x{periods}",
            f"two-way effects, CR1, {units} x {periods}",
            (run_of(reps), ALONE, *TWO_WAY_PEERS),
            two_way,
            full={"units": units, "periods": periods, "reps": reps, "batch": batch},
            tiny={"units": 6, "periods": 4, "reps": 4, "batch": 4},
            one_cpu=True,
        )
        for units, periods, reps, batch in (
            (50, 10, 2**14, 256),
            (200, 20, 2**13, 32),
            (1000, 10, 2**11, 16),
        )
    ),
    Case(
        "wild",
        "the wild cluster bootstrap, 999 draws, 50 x 10",
        (
            Contestant(ALONE.name, remark="limits by test inversion too"),
            peer("wildboottest", "wildboottest", "its fit by pyfixest is counted; no limits"),
        ),
        wild_bootstrap,
        full={"units": 50, "periods": 10, "resamples": 999, "batch": 16},
        tiny={"units": 6, "periods": 4, "resamples": 99, "batch": 4},
        one_cpu=True,
        agree=0.1,
    ),
    Case(
        "2sls",
        "2SLS, HC1, n = 500",
        (run_of(2**13), ALONE, peer("linearmodels", "linearmodels")),
        two_stage,
        full={"n": 500, "reps": 2**13, "batch": 256},
        tiny={"n": 50, "reps": 4, "batch": 4},
        one_cpu=True,
    ),
    Case(
        "arellano-bond",
        "Arellano-Bond, one step, 100 x 7",
        (run_of(2**12), ALONE, peer("pydynpd", "pydynpd", "prints its tables, hidden here")),
        dynamic_panel,
        full={"units": 100, "periods": 7, "reps": 2**12, "batch": 32},
        tiny={"units": 20, "periods": 5, "reps": 4, "batch": 4},
        one_cpu=True,
    ),
)
