"""What is paid before the first replication: imports, workers, compilation."""

import re
from pathlib import Path

from .cases import Case, Contestant
from .costs import Cache, Fresh, Here, program

ROOT = Path(__file__).parents[3]
BY_HAND = "neither stored nor resumable, no Monte Carlo errors, no failures as data"


def help_text(folder: Path) -> tuple[Fresh, ...]:
    commands = ("-m", "mcsim", "--help"), ("-m", "mcsim", "--version"), ("-c", "pass")
    return tuple(Fresh(command, Cache(folder / "cache")) for command in commands)


def imports(folder: Path) -> tuple[Fresh, ...]:
    modules = "mcsim", "jax, pandas", "statsmodels.formula.api"
    return tuple(Fresh(("-c", f"import {names}"), Cache(folder / "cache")) for names in modules)


def worker(folder: Path, reps: int) -> tuple[Here, Fresh]:
    """A run with a worker less the same run without one."""
    import pandas as pd
    import statsmodels.formula.api as smf

    import mcsim

    @mcsim.host
    def draws(rng, design):
        return pd.DataFrame(rng.normal(size=(20, 2)), columns=["y", "x"]), {"x": 0.0}

    @mcsim.host(term="x")
    def ols(frame):
        return smf.ols("y ~ x", frame).fit()

    study = mcsim.Study(dgp=draws, estimators=ols)

    def run(workers):
        mcsim.run(study, reps=reps, workers=workers, progress=False)

    imports = ("-c", "import pandas, statsmodels.formula.api")
    return Here(lambda: run(1), less=lambda: run(0)), Fresh(imports, Cache(folder / "cache"))


def readme_example(folder: Path, reps: int) -> tuple[Fresh, ...]:
    """The example of the README, whose code is read there."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(r"## Example.*?```python\n(.*?)```", readme, re.DOTALL)
    assert found is not None
    assert "reps=500" in found[1]
    file = folder / "example.py"
    file.write_text(found[1].replace("reps=500", f"reps={reps}"), encoding="utf-8")
    return cold_and_warm(folder, (str(file),), program("example_by_hand", reps))


def small_study(folder: Path, reps: int) -> tuple[Fresh, ...]:
    return cold_and_warm(folder, program("small_study", reps), program("small_study_numpy", reps))


def cold_and_warm(
    folder: Path, command: tuple[str, ...], by_hand: tuple[str, ...]
) -> tuple[Fresh, ...]:
    """A program with an empty cache and with the cache that it left, and one that needs none."""
    cache = folder / "cache"
    return (
        Fresh(command, Cache(cache, emptied=True)),
        Fresh(command, Cache(cache)),
        Fresh(by_hand, Cache(cache)),
    )


def large_sample(folder: Path, n: int, reps: int) -> tuple[Fresh, ...]:
    cache = Cache(folder / "cache")
    return (
        Fresh(program("large_sample", n, reps), cache),
        Fresh(program("large_sample_numpy", n, reps), cache),
    )


CASES = (
    Case(
        "help",
        "a command that prints",
        (
            Contestant("`mcsim --help`"),
            Contestant("`mcsim --version`"),
            Contestant("Python itself"),
        ),
        help_text,
    ),
    Case(
        "import",
        "an import in a new process",
        (
            Contestant("`import mcsim`"),
            Contestant("`import jax, pandas`"),
            Contestant("`import statsmodels.formula.api`"),
        ),
        imports,
    ),
    Case(
        "worker",
        "a worker process, started and ended",
        (
            Contestant("mcsim, with statsmodels", remark="`workers=1` less `workers=0`"),
            Contestant("Python, with pandas and statsmodels"),
        ),
        worker,
        full={"reps": 64},
        tiny={"reps": 1},
    ),
    Case(
        "readme-example",
        "the README's example, a new process",
        (
            Contestant("mcsim, empty cache"),
            Contestant("mcsim, cache filled"),
            Contestant("statsmodels, the loop by hand", remark=BY_HAND),
        ),
        readme_example,
        full={"reps": 500},
        tiny={"reps": 2},
    ),
    Case(
        "small-study",
        "2 designs x 3 regressions x 500 replications, n = 200, a new process",
        (
            Contestant("mcsim, empty cache"),
            Contestant("mcsim, cache filled"),
            Contestant("NumPy, all samples at once", remark=BY_HAND),
        ),
        small_study,
        full={"reps": 500},
        tiny={"reps": 2},
    ),
    Case(
        "large-sample",
        "OLS, HC1, n = 100,000, 10 replications, after imports",
        (
            Contestant("mcsim, cache filled"),
            Contestant("NumPy, a loop", remark=BY_HAND),
        ),
        large_sample,
        full={"n": 100_000, "reps": 10},
        tiny={"n": 50, "reps": 2},
    ),
)
