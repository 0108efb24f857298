"""Fits of generators: from an empty cache, from a filled one, and again in the same process."""

from functools import partial
from pathlib import Path

from .cases import Case, Contestant
from .costs import Cache, Fresh, Here, program

PANEL_KINDS = (
    "VAE",
    "Autoregressive",
    "Flow",
    "WGAN",
    "GAN",
    "VAE, lstm",
    "WGAN, lstm",
    "GaussianCopula",
    "GaussianMixture",
)
ENSEMBLES = PANEL_KINDS[:5]


def wgan(folder: Path, steps: int) -> tuple[Fresh | Here, ...]:
    from .programs.fit import data_of, fit, trainer_of

    def again():
        return fit(trainer_of("WGAN", steps), *data_of("experiment"))

    command = program("fit", "experiment", "WGAN", steps)
    cache = folder / "cache"
    return Fresh(command, Cache(cache, emptied=True)), Fresh(command, Cache(cache)), Here(again)


def a_million_rows(folder: Path, rows: int, steps: int) -> tuple[Here, Here]:
    """Draws from a WGAN beside draws of whole men with pandas."""
    import numpy as np

    import mcsim

    from .programs.fit import data_of, fit, trainer_of

    panel, options = data_of("experiment")
    fitted = fit(trainer_of("WGAN", steps), panel, options)
    treat = {"treat": np.resize(np.asarray(panel["treat"])[:, 0], rows)}
    frame = mcsim.to_frame(panel)

    def draw():
        return {
            name: np.asarray(column)
            for name, column in fitted.sample(mcsim.key(1), rows, given=treat).items()
        }

    return Here(draw), Here(lambda: frame.sample(rows, replace=True, random_state=0))


def panel_fits(folder: Path, data: str, steps: int) -> list[Fresh | Here]:
    from .programs.fit import data_of, fit, trainer_of

    panel, options = data_of(data)
    jobs: list[Fresh | Here] = []
    for kind in PANEL_KINDS:
        trainer = trainer_of(kind, steps)
        jobs.append(Here(partial(fit, trainer, panel, options)))
        jobs.append(Fresh(program("fit", data, kind, steps), Cache(folder / "cache", emptied=True)))
    return jobs


def ensembles(folder: Path, members: int, steps: int) -> list[Here]:
    from .programs.fit import data_of, fit, trainer_of

    panel, options = data_of("wages")
    jobs = []
    for kind in ENSEMBLES:
        trainer = trainer_of(kind, steps)
        jobs.append(Here(partial(fit, trainer, panel, options)))
        jobs.append(Here(partial(fit, trainer, panel, options, members), members))
    return jobs


CASES = (
    Case(
        "wgan",
        "a WGAN fit to LaLonde's experiment",
        (
            Contestant("a new process, empty cache"),
            Contestant("a new process, cache filled"),
            Contestant("again in a process"),
        ),
        wgan,
        full={"steps": 0},
        tiny={"steps": 2},
    ),
    Case(
        "million-rows",
        "1,000,000 rows drawn",
        (
            Contestant("the WGAN, again in a process"),
            Contestant("pandas, rows with replacement", remark="learns nothing"),
        ),
        a_million_rows,
        full={"rows": 10**6, "steps": 0},
        tiny={"rows": 10, "steps": 2},
    ),
)

OF_PANELS = (
    *(
        Case(
            f"fits-{data}",
            f"a fit to {title}",
            tuple(
                Contestant(f"{kind}, {how}")
                for kind in PANEL_KINDS
                for how in ("again in a process", "a new process, empty cache")
            ),
            panel_fits,
            full={"data": data, "steps": 0},
            tiny={"data": data, "steps": 2},
        )
        for data, title in (("wages", "545 x 8 wages"), ("states", "48 x 16 growth"))
    ),
    Case(
        "ensembles",
        "a fit to 545 x 8 wages, again in a process",
        tuple(
            Contestant(f"{kind}, {how}") for kind in ENSEMBLES for how in ("alone", "one of ten")
        ),
        ensembles,
        full={"members": 10, "steps": 0},
        tiny={"members": 2, "steps": 2},
    ),
)
