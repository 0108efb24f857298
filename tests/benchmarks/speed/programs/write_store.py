"""Write a store, and its rows as one Parquet file: ``write_store.py FOLDER ROWS CELLS``."""

import sys
from pathlib import Path

import jax

import mcsim


def draws(key, design):
    """Draw one number."""
    y = design["mean"] + jax.random.normal(key, (1, 1))
    return mcsim.Sample(mcsim.Panel({"y": y}), {"mean": design["mean"]})


def only(key, panel):
    """Return the number, with its standard deviation."""
    return {"mean": mcsim.Estimate(panel["y"][0, 0], 1.0)}


if __name__ == "__main__":
    folder, rows, cells = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    designs = mcsim.grid(mean=[float(number) for number in range(cells)])
    study = mcsim.Study(dgp=draws, estimators=only, designs=designs)
    results = mcsim.run(study, reps=rows // cells, store=folder / "store", progress=False)
    results.replicates.to_parquet(folder / "rows.parquet")
