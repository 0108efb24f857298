"""Mistakes in studies, designs, formulas and names."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pandas as pd

import mcsim
from command_line import mcsim_command
from mcsim import Estimate, Panel, Sample, report
from mcsim.dgps import (
    Bootstrap,
    ErrorComponents,
    InteractiveEffects,
    at_random,
    by_cohort,
    by_exposure,
    with_effect,
)
from mcsim.estimators import callaway_santanna, did, fixed_effects, iv_2sls, ols
from mcsim.generators import VAE, WGAN, FittedPanel, GaussianCopula
from mcsim.measures import reps_needed
from mcsim.testing import check_dgp, constant_dgp, exact_estimator
from mistakes import Mistake

FRAME = pd.DataFrame(
    {
        "fcode": [1, 1, 2, 2, 3, 3],
        "year": [2000, 2001] * 3,
        "y": [1.0, 2.5, 3.0, 5.5, 2.0, 2.5],
        "x": [0.0, 1.0, 0.0, 1.5, 1.0, 0.0],
        "d": [0, 1, 0, 0, 0, 0],
    }
)
PANEL, SCHEMA = mcsim.from_frame(FRAME, "fcode", "year")
WAVES = mcsim.Panel({"y": np.random.default_rng(0).normal(size=(20, 3))})

Do = Callable[[Any], object]


def study(**options: Any) -> Do:
    """Make a study of a fake DGP and estimator, but for what is given."""
    parts = {"dgp": constant_dgp(truth=1.0), "estimators": exact_estimator(truth=1.0)}
    return lambda _: mcsim.Study(**{**parts, **options})


def run(reps: int = 4, **options: Any) -> Do:
    """Run a study, with arguments of `mcsim.run` or of `mcsim.Study`."""
    ours = ("dgp", "estimators", "designs")
    parts = {name: options.pop(name) for name in ours if name in options}
    defaults = {"workers": 0, "progress": False, "reps": reps}
    return lambda folder: mcsim.run(study(**parts)(folder), **{**defaults, **options})


def results(folder: Any) -> mcsim.Results:
    return run()(folder)


def summary(**options: Any) -> Do:
    return lambda folder: results(folder).summary(**options)


def summarize(**options: Any) -> Do:
    return lambda _: mcsim.summarize(pd.DataFrame({"value": [1.0, 2.0]}), **options)


def compared(**columns: Any) -> Do:
    figure = {"measure": "bias", "published": 0.1}
    table = pd.DataFrame({"estimator": ["ols"], "bias": [0.0], "bias_mcse": [0.1]})
    return lambda _: mcsim.compare(table, pd.DataFrame([{**figure, **columns}]))


def formula(text: Any, method: Callable[..., Any] = ols, **options: Any) -> Do:
    return lambda _: method(text, **options)


def on_panel(estimator: Any, schema: Any = SCHEMA) -> Do:
    return lambda _: mcsim.estimate(estimator, PANEL, schema=schema)


def effect(**options: Any) -> Do:
    parts = {"source": PANEL, "outcome": "y", "untreated": "as is"}
    some = {"assignment": at_random(n_treated=1, start=1)}
    return lambda _: with_effect(**{**parts, **some, **options})


def assignment(**options: Any) -> Do:
    def do(folder):
        return effect(assignment=at_random(**options))(folder)

    return do


def bootstrap(**options: Any) -> Do:
    return lambda _: Bootstrap(**{"panel": PANEL, **options})


def host(function: Any = None, **options: Any) -> Do:
    return lambda _: mcsim.host(**options)(function) if options else mcsim.host(function)


def host_dgp(**columns: Any) -> Do:
    """Run a study of a host DGP whose frame has further columns."""

    @mcsim.host
    def draw(rng, design):
        return pd.DataFrame({"y": rng.normal(size=4), **columns}), {"a": 0.0, "b": 1.0}

    return run(dgp=draw, estimators=mean)


@mcsim.host
def mean(frame):
    return Estimate(frame["y"].mean(), 0.1)


@mcsim.host(estimand="mean")
def variance_as_se(frame):
    return Estimate(frame["y"].mean(), frame["y"].var() / len(frame))


def two_truths(key, design):
    return Sample(Panel({"y": jax.random.normal(key, (4,))}), {"att": 0.0, "late": 1.0})


def of_n(key, design):
    return Sample(Panel({"y": jax.random.normal(key, (design.n,))}), {"mean": 0.0})


STUDY = "from mcsim import Study\nfrom mcsim.testing import constant_dgp, exact_estimator\n"


def command(*arguments: str) -> Do:
    def do(folder):
        (folder / "study.py").write_text(f"{STUDY}study = Study(constant_dgp(), exact_estimator())")
        return mcsim_command("run", folder / "study.py", *arguments)

    return do


PARTS = [
    Mistake("a panel as DGP", study(dgp=PANEL), "dgp: is a Panel, which is one sample; mcsim.dgps"),
    Mistake("a panel by name as DGP", study(dgp={"psid": PANEL}), "dgp: 'psid' is a Panel, which"),
    Mistake("a frame as DGP", study(dgp=FRAME), "dgp: is DataFrame, expected a function of (key"),
    Mistake("a word as DGP", study(dgp="normal"), "dgp: got 'normal', expected a function of"),
    Mistake("the class of a DGP", study(dgp=constant_dgp), "dgp: 'constant_dgp' is a class, exp"),
    Mistake("an estimator as DGP", study(dgp=ols("y ~ x")), "dgp: 'ols' is an estimator; give it"),
    Mistake(
        "a trainer as DGP",
        study(dgp=mcsim.generators.GaussianCopula()),
        "dgp: 'gaussiancopula' is a trainer; fit it first",
    ),
    Mistake("a DGP of frames not lifted", study(dgp=lambda rng: FRAME), "dgp: '<lambda>' takes (r"),
    Mistake("no estimators", study(estimators=None), "estimators: got None, expected a function"),
    Mistake("estimators by words", study(estimators=["ols"]), "estimators: 'str' got 'ols', expec"),
    Mistake("the maker of an estimator", study(estimators=ols), "estimators: 'ols' takes (formula"),
    Mistake(
        "a function of frames", study(estimators=lambda f: 1), "estimators: '<lambda>' takes ("
    ),
    Mistake("a DGP as estimator", study(estimators=Bootstrap(PANEL)), "estimators: 'bootstrap' is"),
    Mistake("a dict of nothing", study(estimators={"a": None}), "estimators: 'a' got None, expect"),
    Mistake(
        "a number as a name", study(estimators={1: mean}), "estimators: got the name 1, expect"
    ),
]

NUMBERS_AND_TEXTS = [
    Mistake("a level in percent", study(level=95), "level: got 95, expected a number between 0"),
    Mistake("a level in quotes", study(level="0.95"), "level: got '0.95', expected a number betw"),
    Mistake(
        "a size as level", study(level=0.05), "level: 0.05 is the confidence level of intervals; "
    ),
    Mistake(
        "caveats in a dict", study(caveats={"a": 1}), "caveats: got {'a': 1}, expected a list of"
    ),
    Mistake("no null", study(null=None), "null: got None, expected a finite number"),
    Mistake("a null in quotes", study(null="0"), "null: got '0', expected a finite number"),
    Mistake("a scale in words", study(scale="x"), "scale: got 'x', expected a number above 0"),
    Mistake("a scale of zero", study(scale=0), "scale: got 0, expected a number above 0"),
    Mistake("a unit that is a number", study(unit=5), "unit: got 5, expected a string"),
    Mistake("an aim that is a list", study(aim=["a"]), "aim: got ['a'], expected a string"),
    Mistake("one caveat, no list", study(caveats="one"), "caveats: got 'one', expected a list: ['"),
    Mistake("a caveat that is a number", study(caveats=[1]), "caveats: got 1 in it, expected str"),
    Mistake("replications in quotes", study(reps="100"), "reps: got '100', expected a whole numb"),
    Mistake("replications of 1e20", run(reps=1e20), "reps: got 1e+20, expected a whole number"),
    Mistake("too many replications", run(reps=10**20), "reps: got 100000000000000000000, expected"),
    Mistake(
        "too many replications, told the command",
        command("--reps", "100000000000000000000"),
        "reps: got 100000000000000000000, expected at most",
    ),
]

DESIGNS = [
    Mistake("a dict of factors", study(designs={"n": [5]}), "designs: got a dict, expected design"),
    Mistake("one design, no list", study(designs=mcsim.Design({})), "designs: got one Design, exp"),
    Mistake("a number of designs", study(designs=5), "designs: got 5, expected designs, e.g."),
    Mistake("a list of dicts", study(designs=[{"n": 5}]), "designs: got {'n': 5}, expected design"),
    Mistake("no values", lambda _: mcsim.grid(n=None), "factor 'n': got None, expected values"),
    Mistake(
        "a dict of values", lambda _: mcsim.grid(n={"a": 1}), "factor 'n': got {'a': 1}, expec"
    ),
    Mistake(
        "values in lists", lambda _: mcsim.grid(n=[[1]]), "factor 'n': got [1], expected a bool"
    ),
    Mistake(
        "2**63", lambda _: mcsim.grid(n=[2**63]), "factor 'n': got 9223372036854775808, expect"
    ),
    Mistake(
        "static by one word",
        lambda _: mcsim.grid(share=[0.5], static="share"),
        "static: got 'share', expected a list: ['share']",
    ),
    Mistake("a design of a word", lambda _: mcsim.Design("n"), "factors: got 'n', expected a dict"),
    Mistake(
        "design.n", run(dgp=of_n, designs=mcsim.grid(n=[5])), "dgp 'of_n': design.n: write des"
    ),
    Mistake(
        "panel.y", run(estimators=lambda k, p: p.y), "estimator '<lambda>': panel.y: write pan"
    ),
    *(
        Mistake(
            f"a factor {name}",
            study(dgp=of_n, designs=mcsim.grid(**{name: [1, 2]})),
            f"designs: the factor '{name}'",
        )
        for name in ("bias", "kind", "mcse", "coverage_lower", "generator", "decimals")
    ),
    Mistake(
        "a factor truth", lambda _: mcsim.grid(truth=[1]), "factor 'truth': the name is reserv"
    ),
]

RUNS = [
    Mistake(
        "a store that is a number", run(store=5), "store: got int, expected the path of a fold"
    ),
    Mistake(
        "a store without a name", run(store=""), "store: got an empty string, expected the pat"
    ),
    Mistake("a seed in quotes", run(seed="1"), "seed: got '1', expected an integer from 0"),
    Mistake("half a worker", run(workers=2.5), "workers: got 2.5, expected a whole number from 0"),
    Mistake("a flag in words", run(accept_changes="no"), "accept_changes: got 'no', expected True"),
    Mistake("progress in words", run(progress="no"), "progress: got 'no', expected True or False"),
    Mistake(
        "no source", run(source="study.txt"), "source: 'study.txt' is no file, expected the st"
    ),
    Mistake(
        "a frame to run", lambda _: mcsim.run(FRAME), "study: got DataFrame, expected an mcsim.S"
    ),
    Mistake(
        "open a number", lambda _: mcsim.open(5), "store: got int, expected the path of a fold"
    ),
    Mistake(
        "open results", lambda f: mcsim.open(results(f)), "store: got Results, expected the pat"
    ),
]

TRUTHS = [
    Mistake(
        "two truths and no estimand",
        run(dgp=two_truths, estimators=lambda key, panel: Estimate(0.0, 1.0)),
        "estimator '<lambda>': its estimate has no estimand, and the DGP "
        "'two_truths' has the truths of 'att', 'late'; return {'att': Estimate(...)}",
    ),
    Mistake(
        "two truths and no estimand, in Python",
        host_dgp(),
        "estimator 'mean': its estimate has no estimand, and the DGP 'draw' "
        "has the truths of 'a', 'b'",
    ),
    Mistake(
        "a misspelt estimand",
        run(dgp=two_truths, estimators=exact_estimator(estimand="atr")),
        "estimator 'exact_estimator': the DGP 'two_truths' has no truth of its estimand "
        "'atr'; did you mean 'att'?",
    ),
    Mistake(
        "a variance as standard error",
        run(estimators=variance_as_se, reps=64),
        "constant_dgp variance_as_se mean: the standard errors are 0.05",
    ),
    Mistake("text in a drawn frame", host_dgp(g="a"), "dgp 'draw': its column 'g' holds text like"),
    Mistake(
        "NaN in a drawn frame", host_dgp(g=np.nan), "dgp 'draw': its column 'g' has no value (N"
    ),
    Mistake(
        "a DGP of a dict", run(dgp=lambda k, d: {}), "dgp '<lambda>': returned dict, expected S"
    ),
]

HOSTS = [
    Mistake(
        "options of a DGP",
        host(lambda rng, design: None, timeout=0.5),
        "host: '<lambda>' takes (rng, design) and so is a DGP, which has no option 'timeout'",
    ),
    Mistake(
        "an option without name", host("d"), "host: got 'd', expected a function; options have"
    ),
    Mistake("a timeout in quotes", host(timeout="5"), "host: timeout: got '5', expected seconds"),
    Mistake(
        "a list of terms", host(term=["a"]), "host: term: got ['a'], expected a coefficient or"
    ),
    Mistake(
        "rng after the frame", host(lambda frame, rng: None), "host: '<lambda>' takes ['frame'"
    ),
    Mistake(
        "rng after the design", host(lambda design, rng: None), "host: '<lambda>' takes ['desi"
    ),
    Mistake("lifted twice", host(mean), "host: got HostEstimator("),
    Mistake("a builtin", host(max), "host: 'max' does not say its arguments; write a function of"),
]

MEASURES = [
    Mistake(
        "power",
        summary(measures=["power"]),
        "measures: unknown measure 'power'; here it is called 'rejection'",
    ),
    Mistake("size", summarize(measures="size"), "measures: unknown measure 'size'; here it is"),
    Mistake("a number of measures", summary(measures=5), "measures: got 5, expected a list of str"),
    Mistake(
        "a misspelt measure", summary(measures=["covrage"]), "measures: unknown measure 'covra"
    ),
    Mistake("no factor to average", summary(over="n"), "over: got 'n'; this study has no factors"),
    Mistake(
        "an unknown reference", summary(reference="a"), "reference: 'a' is not in column 'esti"
    ),
    Mistake("a level in words", summarize(level="a"), "level: got 'a', expected a number between"),
    Mistake(
        "a standard error, no column", summarize(se=0.1), "se: got 0.1, expected a column's na"
    ),
    Mistake(
        "a list of truths", summarize(truth=[1]), "truth: got [1], expected a column's name or"
    ),
    Mistake("by a number", summarize(by=5), "by: got 5, expected a list of strings"),
    Mistake(
        "results to summarize", lambda f: mcsim.summarize(results(f)), "frame: got Results, exp"
    ),
    Mistake(
        "results to compare", lambda f: mcsim.compare(results(f), FRAME), "summary: got Results"
    ),
    Mistake(
        "figures in words", compared(published="0.1 (0.2)"), "published: column 'published' has"
    ),
    Mistake(
        "an unknown label", compared(estimatr="ols"), "published: column 'estimatr' is not in t"
    ),
    Mistake(
        "an unknown figure", compared(measure="power"), "published: the summary has no measure"
    ),
    Mistake(
        "no figures", lambda _: mcsim.compare(FRAME, FRAME), "published: has no column 'measure"
    ),
    Mistake(
        "a table of a frame", lambda _: report.results_table(FRAME), "results: got DataFrame, ex"
    ),
    Mistake(
        "one estimator, no list",
        lambda f: mcsim.plots.bias(results(f), estimators="exact_estimator"),
        "estimators: got 'exact_estimator', expected a list: ['exact_estimator']",
    ),
    Mistake(
        "a figure of a frame", lambda _: mcsim.plots.coverage(FRAME), "results: got DataFrame, e"
    ),
    Mistake(
        "text of a word", lambda _: report.as_markdown("x"), "table: got str, expected DataFrame"
    ),
]

FORMULAS = [
    *(
        Mistake(text, formula(f"y ~ {text}"), f"formula 'y ~ {text}': {says}")
        for text, says in {
            "L.x": "L.x: write lag(x)",
            "L2.x": "L2.x: write lag(x, 2)",
            "D.x": "D.x: write I(x - lag(x))",
            "F.x": "F.x: a formula has no leads",
            "i.g": "i.g: name the column alone",
            "c.x": "c.x: write x",
            "x##d": "'##' is not allowed; write a:b",
            "l(x, 1)": "l(x, 1): write lag(x)",
            "l(x, 1:2)": "l(x, 1:2): write each lag, lag(x) + lag(x, 2)",
            "i(year, d)": "i(year, d): effects by event time are event_study",
            "x + factor(g)": "factor(g): name the column alone",
            "x + as.factor(g)": "as.factor(g): name the column alone",
            "C(g)": "C(g): name the column alone",
            "poly(x, 2)": "poly(x, 2): write the powers, x + I(x**2)",
            "np.log(x)": "np.log(x): write log(x)",
            "x.shift(1)": "x.shift(1): write lag(x)",
            "x + EntityEffects": "EntityEffects: effects stand after a bar",
            "0 + x": "a 0 is not allowed: an intercept is always there",
            "x | g": "it has effects 'g'; use fixed_effects for them",
        }.items()
    ),
    Mistake(
        "a power", formula("y ~ x^2"), "  - formula 'y ~ x^2': '^' outside I(...); write I(x**2"
    ),
    Mistake(
        "brackets of instruments", formula("y ~ [x ~ z]", iv_2sls), "  - formula 'y ~ [x ~ z]': br"
    ),
    Mistake(
        "no tilde", formula("reg y x"), "formula 'reg y x': it cannot be parsed: there is no ~ af"
    ),
    Mistake(
        "a list of columns", formula(["y", "x"]), "formula: got list, expected a string 'y ~ x1"
    ),
    Mistake(
        "12 columns", formula("y ~ " + "*".join("abcdefghijkl")), "formula: got 4,096 terms, exp"
    ),
    Mistake(
        "16 columns",
        formula("y ~ d | " + "*".join("abcefghijklmnopq"), did),
        "formula: got 65,537 terms, expected at most 1,000",
    ),
    Mistake(
        "effects crossed",
        formula("y ~ x | fcode^year", fixed_effects),
        "formula 'y ~ x | fcode^year': '^' outside I(...)",
    ),
    Mistake(
        "an effect of another column",
        on_panel(fixed_effects("y ~ x | d")),
        "formula 'y ~ x | d': 'd' is not a fixed effect, expected fcode or year",
    ),
    Mistake(
        "a misspelt effect",
        on_panel(fixed_effects("y ~ x | fcode + yaer")),
        "formula 'y ~ x | fcode + yaer': 'yaer' is not a fixed effect, expected fcode or year (the "
        "panel's own axes; unit and time will do); did you mean 'year'?",
    ),
    Mistake(
        "own names without a schema",
        on_panel(fixed_effects("y ~ x | fcode + year"), schema=None),
        "estimator 'fixed_effects': formula 'y ~ x | fcode + year': the effects fcode and year",
    ),
    Mistake(
        "three effects",
        formula("y ~ x | fcode + year + d", fixed_effects),
        "formula 'y ~ x | fcode + year + d': got the effects fcode + year + d, expected at most",
    ),
    Mistake(
        "own names where they are not known",
        formula("y ~ x | year", mcsim.estimators.first_difference),
        "formula 'y ~ x | year': 'year' is not a fixed effect, expected unit or time",
    ),
    Mistake(
        "a schema that is a frame",
        on_panel(ols("y ~ x"), schema=FRAME),
        "schema: got DataFrame, ex",
    ),
    Mistake(
        "effects as covariates",
        on_panel(did("y ~ d | unit + time")),
        "  - column 'unit' of the formula is not in the panel; it is one of its axes, whose eff",
    ),
    Mistake(
        "a control that is none",
        formula("y ~ d", callaway_santanna, control="all"),
        "control: got 'all', expected one of 'never', 'notyet'",
    ),
]

EFFECTS = [
    Mistake(
        "a frame as source", effect(source=FRAME), "source: got DataFrame, expected a Panel, a D"
    ),
    Mistake(
        "a list of outcomes", effect(outcome=["y"]), "outcome: got ['y'], expected the name of o"
    ),
    Mistake(
        "an effect in quotes", effect(effect="0.1"), "effect: got '0.1', expected a finite numbe"
    ),
    Mistake(
        "an assignment in words", effect(assignment="random"), "assignment: got str, expected a"
    ),
    Mistake(
        "the class at_random", effect(assignment=at_random), "assignment: got the class at_rando"
    ),
    Mistake(
        "one horizon", effect(horizons=5), "horizons: got 5, expected event times, e.g. range(-2"
    ),
    Mistake(
        "one average", effect(estimands="att[0]"), "estimands: got 'att[0]', expected a list: ["
    ),
    Mistake(
        "an average by number", effect(estimands=[5]), "estimands: got 5 in it, expected strings"
    ),
    Mistake(
        "a size of a panel", effect(n_units=10), "n_units: got 10, which only a generator draws"
    ),
    Mistake(
        "no name of treatment", effect(treatment=""), "treatment: got '', expected a name, not t"
    ),
    Mistake(
        "an effect of a schema", effect(schema=FRAME), "schema: got DataFrame, expected a Schema"
    ),
    Mistake(
        "a year as start", assignment(start=2001, n_treated=1), "start: got 2001, expected posit"
    ),
    Mistake(
        "a start in quotes", assignment(start="1", n_treated=1), "start: got '1', expected a per"
    ),
    Mistake(
        "a share in words", assignment(start=1, share="half"), "share: got 'half', expected a sh"
    ),
    Mistake(
        "a share in percent", assignment(start=1, share=50), "share: got 50, expected a share be"
    ),
    Mistake(
        "a list of clusters", assignment(start=1, share=0.5, cluster=["x"]), "cluster: got ['x']"
    ),
    Mistake(
        "staggered in words",
        assignment(start=1, n_treated=1, staggered="yes"),
        "staggered: got 'yes', expected True or False",
    ),
    Mistake(
        "a list of starts", lambda _: by_cohort([1, 2]), "cohorts: got [1, 2], expected {start: n"
    ),
    Mistake("a path in words", lambda _: by_exposure("a"), "path: got 'a', expected numbers"),
    Mistake(
        "a frame to resample", bootstrap(panel=FRAME), "panel: got DataFrame, expected a Panel ("
    ),
    Mistake(
        "a truth in words", bootstrap(truth={"a": "b"}), "truth: got {'a': 'b'}, expected {estim"
    ),
    Mistake(
        "a truth by number", bootstrap(truth={1: 1.0}), "truth: got {1: 1.0}, expected {estimand"
    ),
    Mistake("a list of strata", bootstrap(strata=["d"]), "strata: got ['d']; known are d, x, y"),
    Mistake(
        "a flag of words", bootstrap(replacement="no"), "replacement: got 'no', expected True or"
    ),
    Mistake(
        "a schema of a bootstrap", bootstrap(schema=5), "schema: got int, expected a Schema: pane"
    ),
]

OBJECTS = [
    Mistake(
        "a panel of a frame", lambda _: Panel(FRAME), "columns: got DataFrame, expected a dict"
    ),
    Mistake("a panel of words", lambda _: Panel({"y": ["a"]}), "columns: 'y' is list, expected an"),
    Mistake(
        "columns in a list", lambda _: PANEL[["y", "x"]], "column ['y', 'x'] is not in the pan"
    ),
    Mistake(
        "one column to select", lambda _: PANEL.select("year"), "names: got 'year', expected a"
    ),
    Mistake(
        "a status in words",
        run(estimators=lambda key, panel: Estimate(1.0, status="ok")),
        "estimator '<lambda>': its status is 'ok', expected a number",
    ),
    Mistake(
        "a frame to check", lambda _: check_dgp(FRAME), "dgp: is DataFrame, expected a function"
    ),
    Mistake(
        "an error in words", lambda _: reps_needed("a", share=0.5), "mcse: got 'a', expected a "
    ),
    Mistake(
        "replications of mse", lambda _: reps_needed(0.1, sd=1, measure="mse"), "measure: got '"
    ),
    Mistake(
        "no number of keys", lambda _: mcsim.keys(1, "a"), "n: got 'a', expected a whole number"
    ),
]

CLUSTERS = [
    Mistake(
        "clusters without a variance by clusters",
        lambda _: ols("y ~ x", cluster="nr"),
        "cluster: got 'nr', which no variance of vcov=['HC1'] uses; write vcov='CR1'",
    ),
    Mistake(
        "two clusters without a variance by clusters",
        lambda _: fixed_effects("y ~ x | unit", vcov=["iid", "DK"], cluster=["unit", "time"]),
        "cluster: got ('unit', 'time'), which no variance of vcov=['iid', 'DK'] uses",
    ),
    Mistake(
        "clusters beside a variance that names its own",
        lambda _: did("y ~ d", vcov="CR1(unit)", cluster="year"),
        "cluster: got 'year', which no variance of vcov=['CR1(unit)'] uses",
    ),
    Mistake(
        "clusters of instruments without a variance by clusters",
        lambda _: iv_2sls("y ~ 1 | x ~ d", cluster="year"),
        "cluster: got 'year', which no variance of vcov=['HC1'] uses",
    ),
    Mistake(
        "clusters that change within units",
        on_panel(ols("y ~ d", vcov=["HC1", "CR1"], cluster="x")),
        "ols: share of panels without inference by CR1, since 'x' changes within units or is mis",
    ),
]

OF_OLS = "an estimator holds no data; mcsim.estimate(ols('y ~ x'), panel) estimates on them"

DATA_IN_ESTIMATORS = [
    Mistake(
        "data by position",
        lambda _: ols("y ~ x", FRAME),
        f"ols: got DataFrame by position; {OF_OLS}",
    ),
    Mistake(
        "data by name",
        lambda _: did("y ~ d", data=FRAME),
        "did: has no option 'data'; an estimator holds no data; mcsim.estimate(did('y ~ d'), p",
    ),
    Mistake("an estimator to fit", lambda _: ols("y ~ x").fit(), f"ols('y ~ x').fit: {OF_OLS}"),
    Mistake(
        "parameters of an estimator",
        lambda _: ols("y ~ x").params,
        f"ols('y ~ x').params: {OF_OLS}",
    ),
    Mistake(
        "an estimator without a key",
        lambda _: ols("y ~ x")(PANEL),
        "NativeEstimator: lacks 'panel'; an estimator holds no data; mcsim.estimate(estimator, pan",
    ),
]


def given(function: Callable[..., Any], *positions: Any, **options: Any) -> Do:
    return lambda _: function(*positions, **options)


def of_results(do: Callable[[mcsim.Results], object]) -> Do:
    return lambda folder: do(results(folder))


CALLS = [
    Mistake(
        "reps by position",
        given(mcsim.run, study()(None), 20),
        "run: got 20 by position; options have names: reps=",
    ),
    Mistake(
        "reps under another name", run(n_reps=20), "run: has no option 'n_reps'; did you mean 'r"
    ),
    Mistake(
        "alpha of a study", study(alpha=0.05), "Study: has no option 'alpha'; did you mean 'lev"
    ),
    Mistake(
        "N of a DGP",
        given(ErrorComponents, N=50),
        "ErrorComponents: has no option 'N'; did you mea",
    ),
    Mistake(
        "T of a DGP",
        given(InteractiveEffects, T=50),
        "InteractiveEffects: has no option 'T'; did you mean 'n_periods'?",
    ),
    Mistake(
        "a sample judged as a generator",
        given(mcsim.fidelity, WAVES, WAVES, key=mcsim.key(0)),
        "generators: got Panel, a sample; expected a trainer or a fitted generator",
    ),
    Mistake(
        "a frame judged as a generator",
        given(mcsim.fidelity, WAVES, FRAME, key=mcsim.key(0)),
        "generators: got DataFrame, a sample; expected a trainer or a fitted generator",
    ),
    Mistake("epochs", given(WGAN, epochs=9), "WGAN: has no option 'epochs'; did you mean 'steps'?"),
    Mistake(
        "a rate", given(VAE, lr=1e-3), "VAE: has no option 'lr'; did you mean 'learning_rate'?"
    ),
    Mistake(
        "a misspelt option", given(VAE, step=9), "VAE: has no option 'step'; did you mean 'steps'?"
    ),
    Mistake(
        "a fit without a key",
        given(GaussianCopula().fit, PANEL),
        "GaussianCopula.fit: lacks 'panel'; write GaussianCopula.fit(key, panel), where key is mcs",
    ),
    Mistake(
        "a fit of a network without a key", given(VAE().fit, PANEL), "VAE.fit: lacks 'panel'; write"
    ),
    Mistake(
        "a draw without a key",
        given(FittedPanel.sample, object.__new__(FittedPanel), 500),
        "FittedPanel.sample: lacks 'n_units'; write FittedPanel.sample(key, n_units), where key is",
    ),
    Mistake("keys without a seed", given(mcsim.keys, 5), "keys: lacks 'n'; write keys(seed, n)"),
    Mistake(
        "three numbers for keys", given(mcsim.keys, 5, 5, 5), "keys: got 5 by position; expect"
    ),
    Mistake("a key by two ways", given(mcsim.key, 5, seed=5), "key: got 'seed' twice"),
    Mistake(
        "a standard error under another name",
        given(Estimate, 1.0, std_error=1.0),
        "Estimate: has no option 'std_error'; did you mean 'se'?",
    ),
    Mistake(
        "cov_type",
        given(ols, "y ~ x", cov_type="HC1"),
        "ols: has no option 'cov_type'; did you mean",
    ),
    Mistake(
        "an entity",
        given(mcsim.from_frame, FRAME, entity="fcode"),
        "from_frame: has no option 'ent",
    ),
    Mistake(
        "no data to estimate on", given(mcsim.estimate, ols("y ~ x")), "estimate: lacks 'panel'"
    ),
    Mistake(
        "an effect without an outcome",
        given(with_effect, PANEL),
        "with_effect: lacks 'outcome' and",
    ),
    Mistake(
        "a share by position", given(at_random, 0.5), "at_random: got 0.5 by position; options"
    ),
    Mistake(
        "a level of a summary",
        summary(level=95),
        "Results.summary: has no option 'level'; mcsim.op",
    ),
    Mistake(
        "a measure by position",
        of_results(lambda found: found.summary("bias")),
        "Results.summary: got 'bias' by position; options have names: measures=",
    ),
    Mistake(
        "two estimators to compare",
        of_results(lambda found: mcsim.compare(found, "a", "b")),
        "compare: got 'b' by position; it sets a summary beside published figures; two estimators",
    ),
    Mistake(
        "a measure of results",
        of_results(lambda found: found["bias"]),
        "results['bias']: results.summary(measures=['bias']) is a frame with this measure",
    ),
    Mistake(
        "a measure as an attribute",
        of_results(lambda found: found.coverage),
        "results.coverage: results.summary(measures=['coverage']) is a frame with this measure",
    ),
    Mistake(
        "a plot of results",
        of_results(lambda found: found.plot()),
        "results.plot: mcsim.plots draws results",
    ),
    Mistake(
        "results as a file",
        of_results(lambda found: found.to_csv("x")),
        "results.to_csv: results.replicates and results.summary() are frames that have 'to_csv'",
    ),
    Mistake(
        "a misspelt part of results",
        of_results(lambda found: found.failure),
        "results.failure: results have no 'failure'; did you mean 'failures'?",
    ),
]


def line(*arguments: str) -> Do:
    """Run a command line as it stands."""
    return lambda _: mcsim_command(*arguments)


def stored_in_a_file(below: str = "") -> Do:
    def do(folder):
        (folder / "w.csv").write_text("a,b")
        return command("--store", f"w.csv{below}")(folder)

    return do


def without_designs(key, design):
    return Sample(Panel({"y": jax.random.normal(key, (design["n"],))}), {"mean": 0.0})


COMMANDS = [
    Mistake(
        "a study file without run", line("st.py", "--reps", "20"), "write mcsim run st.py --reps"
    ),
    Mistake("reps without their name", command("20"), "write mcsim run "),
    Mistake(
        "a list of variables as in Stata",
        line("fit", "w.csv", "--columns", "inv", "value", "--kind", "vae"),
        "write --columns inv,value",
    ),
    Mistake(
        "an option of a trainer",
        line("fit", "w.csv", "--steps", "2"),
        "--steps: is an option of GAN, WGAN, Autoregressive, Flow, MacroPanel, VAE in Python, not",
    ),
    Mistake(
        "an option of two words of a trainer",
        line("fit", "w.csv", "--batch-size=2"),
        "--batch-size: is an option of ",
    ),
    Mistake(
        "a file as store", stored_in_a_file(), "store: w.csv cannot be a store: w.csv is a file,"
    ),
    Mistake(
        "a store below a file",
        stored_in_a_file("/a/b"),
        "store: w.csv/a/b cannot be a store: w.csv is a file, expected a folder",
    ),
    Mistake(
        "a page with fidelity as a number",
        of_results(lambda found: report.write_html(found, "page.html", fidelity=0.5)),
        "fidelity: got float, expected the table that mcsim.fidelity returns",
    ),
    Mistake(
        "tex as format",
        of_results(lambda found: report.render(report.results_table(found), "tex")),
        "format: got 'tex'; did you mean 'latex'?",
    ),
    Mistake(
        "a factor without designs",
        run(dgp=without_designs, estimators=mean),
        "dgp 'without_designs': factor 'n' is not in the design; give the study designs=mcsim.gri",
    ),
]

MISTAKES = [
    *PARTS, *NUMBERS_AND_TEXTS, *DESIGNS, *RUNS, *TRUTHS, *HOSTS, *MEASURES, *FORMULAS, *EFFECTS,
    *OBJECTS, *CLUSTERS, *DATA_IN_ESTIMATORS, *CALLS, *COMMANDS,
]  # fmt: skip
