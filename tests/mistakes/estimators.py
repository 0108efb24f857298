"""Mistakes in estimators and DGPs."""

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd

import mcsim
from command_line import mcsim_command
from mcsim import Estimate, Panel, Sample
from mcsim.dgps import at_random, with_effect
from mcsim.estimators import did, difference_in_means, ols
from mcsim.testing import constant_dgp, exact_estimator
from mistakes import Mistake

Do = Callable[[Path], object]


def run(dgp: Any = None, estimator: Any = None) -> Do:
    """Run a study of four replications in this process."""

    def do(_: Path) -> object:
        study = mcsim.Study(
            dgp={"d": dgp or constant_dgp()}, estimators={"e": estimator or exact_estimator()}
        )
        return mcsim.run(study, reps=4, workers=0, progress=False)

    return do


def host(function: Callable[..., Any], **options: Any) -> Do:
    """Run a study with a host estimator."""
    return run(estimator=mcsim.host(estimand="mean", **options)(function))


def raising(error: BaseException) -> Do:
    """Run a study with a host estimator that raises an exception."""

    def estimator(frame):
        raise error

    return host(estimator)


def study_file(text: str) -> Do:
    """Run a study file with this content, named mistake.py, in the folder."""

    def do(folder: Path) -> object:
        (folder / "mistake.py").write_text(text)
        return mcsim_command("run", "mistake.py", "--workers", 0)

    return do


def fitted(formula: str = "y ~ x", **options: Any) -> Do:
    """Run a study with an estimator that fits a formula by statsmodels; x is 0, 1, 2, ..."""

    def estimator(frame):
        import statsmodels.formula.api as smf

        return smf.ols(formula, frame.assign(x=np.arange(len(frame)))).fit()

    return host(estimator, **options)


def not_fitted(frame):
    import statsmodels.api as sm

    return sm.OLS(frame["y"], np.ones(len(frame)))


def minimized(frame):
    from scipy.optimize import minimize

    return minimize(lambda mean: ((frame["y"] - mean) ** 2).sum(), 0.0)


def same_fit_twice(frame):
    fit = object()
    return {"iid": fit, "HC1": fit}


def closing_its_output(frame):
    sys.stdout.close()
    raise ValueError("after the end")


def failing_once(frame):
    if not Path("called").exists():
        Path("called").touch()
        raise ValueError("no convergence")
    return Estimate(0.0, 1.0)


LOCK = threading.Lock()


def locked(frame):
    with LOCK:
        return Estimate(0.0)


class Unspeakable(Exception):
    """An exception without a message that can be shown."""

    def __str__(self) -> str:
        raise RuntimeError


class Stop(BaseException):
    """What some solvers raise to stop."""


def branching(key, panel):
    return Estimate(1.0 if panel["y"].mean() > 0 else 0.0)


def of_another_column(key, panel):
    return Estimate(panel["yy"].mean())


def on_a_frame(frame):
    return Estimate(frame["y"].mean())


def interrupting_dgp(rng, design):
    raise Stop("no more samples")


@mcsim.host
def drawn_by_host(rng, design):
    y = rng.normal(size=8)
    return pd.DataFrame({"y": y, "x": rng.normal(size=8)}), {"beta": 1.0}


@mcsim.host(estimand="x")
def slope(frame):
    return Estimate(np.polyfit(frame["x"], frame["y"], 1)[0])


@mcsim.host
def drawn_by_size(rng, design):
    y = [rng.normal() for _ in range(design["n"])]
    return pd.DataFrame({"y": y}), {"mean": 0.0}


@mcsim.host
def drawn_by_sigma(rng, design):
    y = rng.normal(scale=design.get("sigma", 1.0), size=8)
    return pd.DataFrame({"y": y}), {"mean": 0.0}


def under(dgp: Any, **factors: Any) -> Do:
    """Run a study of a host DGP and the mean of its column y, under a grid of factors."""

    def do(_: Path) -> object:
        study = mcsim.Study({"d": dgp}, {"e": mcsim.host(on_a_frame)}, mcsim.grid(**factors))
        return mcsim.run(study, reps=4, workers=0, progress=False)

    return do


def drawing_truth_of_beta(key, design):
    y, x = jax.random.normal(key, (2, 8))
    return Sample(Panel({"y": y, "x": x}), {"beta": 1.0})


NO_TRUTH_OF_X = "' has no truth of its estimand 'x'; known are beta (estimand= labels"


def reading_nothing(key, panel):
    return Estimate(0.085, 0.02)


def of_another_treatment(_: Path) -> object:
    wages = Panel({"lwage": np.arange(24.0).reshape(6, 4), "union": np.ones((6, 4))})
    dgp = with_effect(
        wages, outcome="lwage", assignment=at_random(n_treated=3, start=2), effect=1.0
    )
    return run(dgp=dgp, estimator=did("lwage ~ union"))(_)


WORKERS = Panel(
    {
        "re78": np.arange(12.0),
        "age": np.linspace(20.0, 60.0, 12) ** 2,
        "treat": np.arange(12.0) < 4,
    }
)


def on_workers(estimator: Any) -> Do:
    """Estimate on one panel of twelve workers."""
    return lambda _: mcsim.estimate(estimator, WORKERS)


def drawing_ages(key, design):
    y, d = jax.random.normal(key, (2, 8))
    return Sample(Panel({"y": y, "d": d}), {"att": 1.0})


ALL = "e: 4 of 4 failed: "

MISTAKES = [
    Mistake(
        "no return statement",
        host(lambda frame: None),
        f"{ALL}ContractError: the estimator returned NoneType, so that its function has no return",
    ),
    Mistake(
        "a tuple of estimate and standard error",
        host(lambda frame: (0.0, 1.0)),
        f"{ALL}ContractError: the estimator returned tuple: return mcsim.Estimate(value, se)",
    ),
    Mistake(
        "a bare number",
        host(lambda frame: frame["y"].mean()),
        f"{ALL}ContractError: the estimator returned float64: return mcsim.Estimate(",
    ),
    Mistake(
        "an array",
        host(lambda frame: np.zeros(2)),
        f"{ALL}ContractError: the estimator returned ndarray: return mcsim.Estimate(value, se)",
    ),
    Mistake(
        "a column of a frame",
        host(lambda frame: frame["y"]),
        f"{ALL}ContractError: the estimator returned Series, which mcsim does not read: return",
    ),
    Mistake(
        "a function that was not called",
        host(lambda frame: frame["y"].mean),
        f"{ALL}ContractError: the estimator returned method: call it, or return mcsim.Estimate",
    ),
    Mistake(
        "a result of scipy.optimize",
        host(minimized),
        f"{ALL}ContractError: the estimator returned OptimizeResult whose ",
    ),
    Mistake(
        "a model before it is fitted",
        host(not_fitted),
        f"{ALL}ContractError: the estimator returned OLS before it was fitted; return .fit()",
    ),
    Mistake(
        "a fit with several coefficients and no term=",
        fitted(),
        f"{ALL}ContractError: term: the result has ['Intercept', 'x']; name one with @host(term=",
    ),
    Mistake(
        "a misspelt term=",
        fitted(term="xx"),
        f"{ALL}ContractError: term: the result has no 'xx'; did you mean 'x'?",
    ),
    Mistake(
        "a column of a formula that the frame lacks",
        fitted("y ~ z", term="z"),
        f"{ALL}PatsyError: Error evaluating factor: NameError: name 'z' is not defined",
    ),
    Mistake(
        "a column that the frame lacks",
        host(lambda frame: Estimate(frame["yy"].mean())),
        f"{ALL}KeyError: 'yy'; the frame has no column 'yy'; did you mean 'y'?",
    ),
    Mistake(
        "a column that is the index",
        host(lambda frame: Estimate(frame["unit"].mean())),
        f"{ALL}KeyError: 'unit'; 'unit' is in the index: frame.reset_index() makes it a column",
    ),
    Mistake(
        "a column as an attribute that the frame lacks",
        host(lambda frame: Estimate(frame.wage.mean())),
        f"{ALL}AttributeError: 'DataFrame' object has no attribute 'wage'",
    ),
    Mistake(
        "a dict of numbers",
        host(lambda frame: {"iid": 1.0}),
        f"{ALL}ContractError: the estimator returned dict whose 'iid' is float: return",
    ),
    Mistake(
        "an empty dict",
        host(lambda frame: {}),
        f"{ALL}ContractError: it returned an empty dict, expected an estimate",
    ),
    Mistake(
        "labels that are numbers",
        host(lambda frame: {1: Estimate(1.0)}),
        f"{ALL}ContractError: the label 1 is neither an estimand (a string) nor a pair",
    ),
    Mistake(
        "one fit under two labels",
        host(same_fit_twice),
        f"{ALL}ContractError: it returned the same object under 'iid' and 'HC1'",
    ),
    Mistake(
        "a generator of results without labels",
        host(lambda frame: (Estimate(1.0) for _ in range(2))),
        f"{ALL}ContractError: it yielded Estimate, expected pairs (label, result)",
    ),
    Mistake(
        "an estimate of arrays",
        host(lambda frame: Estimate(frame["y"], 1.0)),
        f"{ALL}ContractError: the estimate's value must be numbers, not arrays",
    ),
    Mistake(
        "a status that is none",
        host(lambda frame: Estimate(0.0, status="ok")),
        f"{ALL}ContractError: the estimate's status is 'ok', expected an mcsim.Status",
    ),
    Mistake("an estimate that is no number", host(lambda frame: Estimate(np.nan)), f"{ALL}nan"),
    Mistake("a failure in one replication", host(failing_once), "e: 1 of 4 failed: ValueError: no"),
    Mistake("Ctrl-C in an estimator", raising(KeyboardInterrupt()), f"{ALL}KeyboardInterrupt"),
    Mistake("an exception of a solver", raising(Stop("done")), f"{ALL}Stop: done"),
    Mistake("an exit in an estimator", raising(SystemExit(3)), f"{ALL}SystemExit: 3"),
    Mistake("the output closed", host(closing_its_output), f"{ALL}ValueError: after the end"),
    Mistake("no memory", raising(MemoryError()), f"{ALL}oom: MemoryError"),
    Mistake("a message of a megabyte", raising(ValueError("x" * 10**6)), f"{ALL}ValueError: xxxxx"),
    Mistake(
        "a message of several lines",
        raising(ValueError("the formula\n    y ~ z\n        ^\nis wrong")),
        f"{ALL}ValueError: the formula; y ~ z; is wrong",
    ),
    Mistake(
        "a message that moves the cursor",
        raising(ValueError("\x1b[2Jgone")),
        f"{ALL}ValueError: \\x1b[2Jgone",
    ),
    Mistake(
        "an exception without a message",
        raising(Unspeakable()),
        f"{ALL}Unspeakable: its message cannot be shown",
    ),
    Mistake(
        "a lock in an estimator",
        host(locked),
        "host function 'locked' cannot be sent to worker processes (TypeError: cannot pickle",
    ),
    Mistake(
        "a host estimator that was not lifted",
        run(estimator=on_a_frame),
        "estimators: 'e' takes (frame), expected a function of (key, panel)",
    ),
    Mistake(
        "a native estimator that branches on numbers",
        run(estimator=branching),
        "estimator 'e': it cannot be traced by JAX (TracerBoolConversionError)",
    ),
    Mistake(
        "a native estimator that returns nothing",
        run(estimator=lambda key, panel: None),
        "estimator 'e': the result is NoneType, expected an Estimate",
    ),
    Mistake(
        "a native estimator that returns a tuple",
        run(estimator=lambda key, panel: (0.0, 1.0)),
        "estimator 'e': the result is tuple, expected an Estimate",
    ),
    Mistake(
        "a native estimator of a column that the panel lacks",
        run(estimator=of_another_column),
        "estimator 'e': column 'yy'",
    ),
    Mistake(
        "a timeout of zero seconds",
        lambda _: mcsim.host(timeout=0)(on_a_frame),
        "host: timeout: got 0, expected seconds above 0",
    ),
    Mistake(
        "a term= that is a number",
        lambda _: mcsim.host(term=1)(on_a_frame),  # type: ignore[call-overload]
        "host: term: got 1, expected a coefficient",
    ),
    Mistake(
        "a DGP without a return statement",
        run(dgp=lambda key, design: None),
        "dgp 'd': returned NoneType, expected Sample(panel, truth)",
    ),
    Mistake(
        "a DGP without a truth",
        run(dgp=lambda key, design: Panel({"y": [1.0]})),
        "dgp 'd': returned Panel, expected Sample(panel, truth)",
    ),
    Mistake(
        "a DGP whose truth is a number",
        run(dgp=lambda key, design: Sample(Panel({"y": [1.0]}), 1.0)),
        "dgp 'd': the truth is float, expected a dict such as {'att': 1.0}",
    ),
    Mistake(
        "a host DGP without a truth",
        run(dgp=mcsim.host(lambda rng, design: pd.DataFrame({"y": rng.normal(size=3)}))),
        "dgp '<lambda>': returned DataFrame, expected (frame, truth)",
    ),
    Mistake(
        "a host DGP that stops like a solver",
        run(dgp=mcsim.host(interrupting_dgp)),
        "dgp 'interrupting_dgp' fails in replication 0:",
    ),
    *(
        Mistake(
            f"a truth of another name than the estimand, {kind}",
            run(dgp=dgp, estimator=estimator),
            f"estimator 'e': the DGP 'd{NO_TRUTH_OF_X}",
        )
        for kind, dgp, estimator in [
            ("both host", drawn_by_host, slope),
            ("the DGP host", drawn_by_host, ols("y ~ x")),
            ("the estimator host", drawing_truth_of_beta, slope),
            ("both native", drawing_truth_of_beta, ols("y ~ x")),
        ]
    ),
    Mistake(
        "an estimator that reads nothing of what is drawn",
        run(estimator=reading_nothing),
        "e: its estimates are the same (0.085) in all replications of cell 'd': does it read what",
    ),
    Mistake(
        "a host estimator that reads nothing of what is drawn",
        host(lambda frame: Estimate(1.0, 0.1)),
        "e: its estimates are the same (1) in all replications of cell 'd': does it read what",
    ),
    Mistake(
        "an estimator of another treatment than the DGP draws",
        of_another_treatment,
        "estimator 'e' estimates the effect of 'union', but the DGP 'd' draws the treatment 'd'; "
        "write 'd' in the formula, or treatment='union' in the DGP",
    ),
    Mistake(
        "degrees of freedom in the third place",
        host(lambda frame: Estimate(0.0, 1.0, 38)),
        f"{ALL}ContractError: the estimate has lower=38 without upper; give both limits "
        "(upper=math.inf of a one-sided interval), or df=38 for degrees of freedom",
    ),
    Mistake(
        "an upper limit alone",
        host(lambda frame: Estimate(0.0, 1.0, upper=2.0)),
        f"{ALL}ContractError: the estimate has upper=2 without lower; give both limits "
        "(lower=-math.inf of a one-sided interval)",
    ),
    Mistake(
        "limits the wrong way round",
        host(lambda frame: Estimate(0.0, 1.0, 2.0, -2.0)),
        f"{ALL}ContractError: the estimate has lower=2 above upper=-2; give the lower one first",
    ),
    Mistake(
        "outcome and treatment swapped",
        on_workers(difference_in_means("treat ~ re78")),
        "difference_in_means: invalid_input: treatment 're78' must hold 0 and 1, got 2, 3, 4, ...; "
        "are outcome and treatment swapped?",
    ),
    Mistake(
        "a treatment that is an amount",
        on_workers(difference_in_means("re78 ~ age")),
        "difference_in_means: invalid_input: treatment 'age' must hold 0 and 1, got 400, ",
    ),
    Mistake(
        "a logarithm of zero",
        on_workers(ols("log(re78) ~ age")),
        "ols: nan: log(re78) is no number in 1 of 12 rows, as where re78 = 0; leave these rows out",
    ),
    Mistake(
        "a treatment that is drawn as an amount",
        run(dgp=drawing_ages, estimator=difference_in_means("y ~ d")),
        f"{ALL}invalid_input: treatment 'd' must hold 0 and 1, got ",
    ),
    Mistake(
        "a misspelt factor, of which a host DGP has a default",
        under(drawn_by_sigma, sgima=[1.0, 2.0]),
        "factor 'sgima': no cell of dgp 'd' reads it; did you mean 'sigma'?",
    ),
    Mistake(
        "a number of units that is a float",
        under(drawn_by_size, n=[2e1, 1e2]),
        "dgp 'drawn_by_size' fails in replication 0: TypeError: 'float' object cannot be "
        'interpreted as an integer, in: y = [rng.normal() for _ in range(design["n"])]; factor '
        "'n' is a float (20.0): write n=[20]",
    ),
    Mistake(
        "a study file with a syntax error",
        study_file("import mcsim\nstudy = mcsim.Study(dgp=d, estimators=e\n"),
        "mistake.py, line 2: study = mcsim.Study(dgp=d, estimators=e",
    ),
    Mistake(
        "a study file with a wrong indent",
        study_file("def study():\nreturn 1\n"),
        "mistake.py, line 2: return 1",
    ),
    Mistake(
        "a study file with a misspelt name",
        study_file("import mcsim\nstudy = mcsim.Studdy()\n"),
        "mistake.py, line 2: study = mcsim.Studdy()",
    ),
    Mistake(
        "a study file that exits",
        study_file("import sys\nsys.exit('no data')\n"),
        "mistake.py, line 2: sys.exit('no data')",
    ),
]
