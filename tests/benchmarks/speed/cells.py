"""What a run adds to drawing and estimating: cells, host functions, a large store."""

import tempfile
from functools import partial
from pathlib import Path

from .cases import Case, Contestant
from .costs import Cache, Fresh, Here, program


def many_cells(folder: Path, cells: int, fewer: int, reps: int) -> tuple[Here, ...]:
    """A study of many small cells less one of fewer; drawing and estimating them is subtracted."""
    import jax
    import numpy as np

    import mcsim

    def draws(key, design):
        y = design["mean"] + jax.random.normal(key, (8, 1))
        return mcsim.Sample(mcsim.Panel({"y": y}), {"mean": design["mean"]})

    def mean(key, panel):
        y = panel["y"]
        return {"mean": mcsim.Estimate(y.mean(), y.std(ddof=1) / 8**0.5)}

    def run(number):
        designs = mcsim.grid(mean=np.linspace(0.0, 1.0, number).tolist())
        study = mcsim.Study(dgp=draws, estimators=mean, designs=designs)
        with tempfile.TemporaryDirectory() as store:
            mcsim.run(study, reps=reps, store=store, workers=1, progress=False)

    @jax.jit
    def program_of_a_cell(keys, design):
        return jax.vmap(lambda key: mean(key, draws(key, design).panel))(keys)

    keys, design = jax.random.split(jax.random.key(0), reps), mcsim.Design({"mean": 0.5})
    return (
        Here(partial(run, cells), cells - fewer, less=partial(run, fewer)),
        Here(lambda: jax.block_until_ready(program_of_a_cell(keys, design))),
    )


def host_functions(folder: Path, reps: int, fewer: int) -> tuple[Here, ...]:
    """A trivial DGP and a trivial estimator, both of frames; a long run less a short one."""
    import numpy as np
    import pandas as pd

    import mcsim

    def draws(rng, design):
        return pd.DataFrame({"y": rng.normal(size=100)}), {"mean": 0.0}

    def first(frame):
        return mcsim.Estimate(frame["y"].iloc[0], 1.0)

    def native(key, design):
        import jax

        return mcsim.Sample(mcsim.Panel({"y": jax.random.normal(key, (100, 1))}), {"mean": 0.0})

    estimator = mcsim.host(estimand="mean")(first)
    both = mcsim.Study(dgp=mcsim.host(draws), estimators=estimator)
    alone = mcsim.Study(dgp=native, estimators=estimator)

    def run(study, number):
        mcsim.run(study, reps=number, workers=1, progress=False)

    def by_hand():
        rng = np.random.default_rng(0)
        for _ in range(1000):
            frame, _ = draws(rng, None)
            first(frame)

    return (
        Here(partial(run, both, reps), reps - fewer, less=partial(run, both, fewer)),
        Here(partial(run, alone, reps), reps - fewer, less=partial(run, alone, fewer)),
        Here(by_hand, 1000),
    )


def large_store(folder: Path, rows: int, cells: int) -> tuple[Fresh, ...]:
    """A store of one estimator in some cells, written by a run; the same rows as one file."""
    cache = Cache(folder / "cache")
    emptied = Cache(folder / "cache", emptied=True)
    Fresh(program("write_store", folder, rows, cells), emptied).cost(1)
    return (
        Fresh(program("open_store", folder / "store", rows), cache),
        Fresh(program("open_parquet", folder / "rows.parquet", rows), cache),
    )


STORE = (
    Contestant("mcsim"),
    Contestant("pandas, one Parquet file", remark="no checksums, no Monte Carlo errors"),
)

CASES = (
    Case(
        "many-cells",
        "a cell of 1,000 replications, of 500 less 100 cells",
        (
            Contestant("mcsim, stored"),
            Contestant("drawing and estimating alone", remark="the compiled program, by hand"),
        ),
        many_cells,
        full={"cells": 500, "fewer": 100, "reps": 1000},
        tiny={"cells": 2, "fewer": 1, "reps": 2},
        one_cpu=True,
    ),
    Case(
        "host-functions",
        "a replication of trivial functions of frames, of 8,192 less 1,024",
        (
            Contestant("mcsim, DGP and estimator"),
            Contestant("mcsim, the estimator, native DGP"),
            Contestant("both functions in a loop", remark="their own time, the frame's too"),
        ),
        host_functions,
        full={"reps": 8192, "fewer": 1024},
        tiny={"reps": 2, "fewer": 1},
        one_cpu=True,
    ),
    Case(
        "store",
        "1,000,000 rows of 10 cells: open and summarize, after imports",
        STORE,
        large_store,
        full={"rows": 10**6, "cells": 10},
        tiny={"rows": 20, "cells": 2},
    ),
)

LARGEST = (
    Case(
        "large-store",
        "10,000,000 rows of 10 cells: open and summarize, after imports",
        STORE,
        large_store,
        full={"rows": 10**7, "cells": 10},
        tiny={"rows": 20, "cells": 2},
    ),
)
