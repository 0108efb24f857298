"""Fits of generators: from an empty cache, from a filled one, and again in the same process."""

from functools import partial
from pathlib import Path

from .cases import Case, Contestant
from .costs import Cache, Fresh, Here, program

PANELS = {"wages": "545 x 8 wages", "states": "48 x 16 growth"}
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


def panel_fit(
    folder: Path, data: str, kind: str, steps: int, members: int
) -> tuple[Here | Fresh, ...]:
    from .programs.fit import data_of, fit, trainer_of

    panel, options = data_of(data)
    trainer, empty = trainer_of(kind, steps), Cache(folder / "cache", emptied=True)
    return (
        Here(partial(fit, trainer, panel, options)),
        Fresh(program("fit", data, kind, steps), empty),
        Here(partial(fit, trainer, panel, options, members), members),
    )


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

OF_PANELS = tuple(
    Case(
        f"{data}-{kind.lower().replace(', ', '-')}",
        f"{kind}, a fit to {title}",
        (
            Contestant("again in a process"),
            Contestant("a new process, empty cache"),
            Contestant("again, one of ten at once"),
        ),
        panel_fit,
        full={"data": data, "kind": kind, "steps": 0, "members": 10},
        tiny={"data": data, "kind": kind, "steps": 2, "members": 2},
    )
    for data, title in PANELS.items()
    for kind in PANEL_KINDS
)
