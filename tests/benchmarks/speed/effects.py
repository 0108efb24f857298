"""Effects of a treatment, a replication: AIPW, staggered adoption, synthetic controls."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .cases import Case, Contestant
from .contests import ALONE, Contest, loop, peer, run_of
from .costs import Here
from .numpy_twins import att_by_aipw


def aipw_att(folder: Path, n: int, reps: int, batch: int) -> tuple[Here, ...]:
    import jax

    import mcsim
    from mcsim.estimators import aipw

    def selected(key, design):
        a, b, c, noise, lot = jax.random.normal(key, (5, n))
        d = (a + 2 * lot > 0) * 1.0
        columns = {"y": d + a + b + c + noise, "d": d, "a": a, "b": b, "c": c}
        panel = mcsim.Panel({name: v[:, None] for name, v in columns.items()})
        return mcsim.Sample(panel, {"att": 1.0})

    contest = Contest(selected, aipw("y ~ d | a + b + c"), ("att", "sandwich"), batch)
    frames = contest.frames(10)

    def of_doubleml(frame):
        import doubleml
        from sklearn.linear_model import LinearRegression, LogisticRegression

        data = doubleml.DoubleMLData(frame[["y", "d", "a", "b", "c"]], "y", "d")
        nuisances = LinearRegression(), LogisticRegression(C=1e6)
        return doubleml.DoubleMLIRM(data, *nuisances, n_folds=2, score="ATTE").fit()

    def of_statspai(frame):
        import statspai

        return statspai.aipw(frame, "y", "d", ["a", "b", "c"], estimand="ATT", cross_fit=False)

    return (
        contest.run(reps),
        contest.alone("value", "se"),
        loop(att_by_aipw, frames, lambda found: found),
        loop(of_doubleml, frames[:3], None),
        loop(of_statspai, frames[:3], None),
    )


def staggered(units: int, periods: int) -> Any:
    """Panels of three cohorts that adopt treatment, and one that never does."""
    from mcsim.dgps import ErrorComponents, by_cohort, with_effect

    starts = periods // 4 + 1, periods // 2, 3 * periods // 4
    return with_effect(
        ErrorComponents(n_units=units, n_periods=periods, beta=None, unit_share=0.3),
        outcome="y",
        assignment=by_cohort(dict.fromkeys(starts, 0.25)),
    )


def with_first_treated(frames: Sequence[Any]) -> list[Any]:
    """Frames with periods from 1, and a unit's first treated period, 0 where it has none."""
    later = [frame.assign(time=frame["time"] + 1) for frame in frames]
    starts = [
        frame["time"].where(frame["d"] == 1).groupby(frame["unit"]).transform("min").fillna(0)
        for frame in later
    ]
    return [frame.assign(start=s.astype(int)) for frame, s in zip(later, starts, strict=True)]


_COLUMNS = {"outcome": "y", "unit": "unit", "time": "time", "first_treat": "start"}


def callaway_santanna(
    folder: Path, units: int, periods: int, reps: int, batch: int
) -> tuple[Here, ...]:
    from mcsim.estimators import callaway_santanna as att_gt

    contest = Contest(staggered(units, periods), att_gt("y ~ d"), ("att", "influence"), batch)
    frames = with_first_treated(contest.frames(5))

    def of_diff_diff(frame):
        import diff_diff

        return diff_diff.CallawaySantAnna().fit(frame, **_COLUMNS)

    def of_statspai(frame):
        import statspai

        names = {"y": "y", "g": "start", "t": "time", "i": "unit"}
        return statspai.callaway_santanna(frame, **names, base_period="varying")

    return (
        contest.run(reps),
        contest.alone("value", "se"),
        loop(of_diff_diff, frames, lambda fit: (fit.overall_att, fit.overall_se)),
        loop(of_statspai, frames, None),
    )


def imputation(folder: Path, units: int, periods: int, reps: int, batch: int) -> tuple[Here, ...]:
    from mcsim.estimators import imputation as bjs

    contest = Contest(staggered(units, periods), bjs("y ~ d"), ("att", "bjs"), batch)
    frames = with_first_treated(contest.frames(5))

    def of_diff_diff(frame):
        import diff_diff

        return diff_diff.ImputationDiD().fit(frame, **_COLUMNS)

    def of_did2s(frame):
        import pyfixest

        stages = {"first_stage": "~ 0 | unit + time", "second_stage": "~ i(d, ref=0)"}
        return pyfixest.did2s(frame, yname="y", treatment="d", cluster="unit", **stages)

    def of_statspai(frame):
        import statspai

        return statspai.did_imputation(frame, "y", "unit", "time", "start")

    return (
        contest.run(reps),
        contest.alone("value", "se"),
        loop(of_diff_diff, frames, lambda fit: (fit.overall_att, fit.overall_se)),
        loop(of_did2s, frames, None),
        loop(of_statspai, frames, None),
    )


def synthetic_did(
    folder: Path, units: int, periods: int, resamples: int, batch: int
) -> tuple[Here, ...]:
    from mcsim.dgps import ErrorComponents, at_random, with_effect
    from mcsim.estimators import synthetic_did as sdid

    start, treated = 3 * periods // 5, max(2, units // 8)
    dgp = with_effect(
        ErrorComponents(n_units=units, n_periods=periods, beta=None, unit_share=0.3),
        outcome="y",
        assignment=at_random(n_treated=treated, start=start),
    )
    label = ("att", "placebo")
    published = Contest(dgp, sdid("y ~ d", resamples=resamples, solver="aahiw2021"), label, batch)
    exact = Contest(dgp, sdid("y ~ d", resamples=resamples), label, batch)
    frames = [
        frame.assign(ever=frame.groupby("unit")["d"].transform("max").astype(int))
        for frame in published.frames(3)
    ]

    def of_diff_diff(frame):
        import diff_diff

        columns = {"outcome": "y", "treatment": "ever", "unit": "unit", "time": "time"}
        method = diff_diff.SyntheticDiD(variance_method="placebo", n_bootstrap=resamples, seed=0)
        return method.fit(frame, **columns, post_periods=list(range(start, periods)))

    def of_statspai(frame):
        import statspai

        units = frame["unit"][frame["ever"] == 1].unique().tolist()
        columns = {"outcome": "y", "unit": "unit", "time": "time", "treated_unit": units}
        return statspai.sdid(frame, **columns, treatment_time=start, n_reps=resamples, seed=0)

    without_answer = exact.alone("value")
    return (
        published.alone("value"),
        Here(without_answer.job, without_answer.work),
        loop(of_diff_diff, frames, lambda fit: [fit.att]),
        loop(of_statspai, frames, None),
    )


PANEL = {"units": 200, "periods": 10, "reps": 2**12, "batch": 64}
TINY = {"units": 24, "periods": 8, "reps": 4, "batch": 4}
MORE = "effects of every cohort and period too"


CASES = (
    Case(
        "aipw",
        "AIPW of the ATT, n = 500, 3 covariates",
        (
            run_of(2**12),
            ALONE,
            peer("statsmodels' logit and OLS, the rest by hand", "statsmodels"),
            peer("DoubleML", "doubleml", "cross-fitted: the same effect, another estimator"),
            peer("StatsPAI", "statspai", "another propensity and variance, more results"),
        ),
        aipw_att,
        full={"n": 500, "reps": 2**12, "batch": 256},
        tiny={"n": 100, "reps": 4, "batch": 4},
        one_cpu=True,
        agree=1e-6,
    ),
    Case(
        "callaway-santanna",
        "Callaway-Sant'Anna, 200 x 10, three cohorts",
        (
            run_of(2**12),
            ALONE,
            peer("diff-diff", "diff_diff", MORE),
            peer("StatsPAI", "statspai", MORE + ", a test of trends"),
        ),
        callaway_santanna,
        full=PANEL,
        tiny=TINY,
        one_cpu=True,
    ),
    Case(
        "imputation",
        "imputation (Borusyak et al.), 200 x 10, three cohorts",
        (
            run_of(2**12),
            ALONE,
            peer("diff-diff", "diff_diff", MORE),
            peer("pyfixest, did2s", "pyfixest", "the same value, another variance"),
            peer("StatsPAI", "statspai", "more results"),
        ),
        imputation,
        full=PANEL,
        tiny=TINY,
        one_cpu=True,
    ),
    Case(
        "synthetic-did",
        "synthetic DiD, 200 placebos, 40 x 20",
        (
            Contestant("mcsim, the authors' algorithm", remark=ALONE.remark),
            Contestant("mcsim, exact weights (the default)", remark=ALONE.remark),
            peer("diff-diff", "diff_diff"),
            peer("StatsPAI", "statspai"),
        ),
        synthetic_did,
        full={"units": 40, "periods": 20, "resamples": 200, "batch": 8},
        tiny={"units": 12, "periods": 6, "resamples": 4, "batch": 2},
        one_cpu=True,
    ),
)
