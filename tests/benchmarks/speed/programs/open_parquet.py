"""Read rows from one file and summarize them: ``open_parquet.py FILE ROWS``."""

import sys
import time

import pandas as pd

before = time.process_time()
rows = pd.read_parquet(sys.argv[1])
assert len(rows) == int(sys.argv[2])
error, covered = rows["value"] - rows["truth"], rows["truth"].between(rows["lower"], rows["upper"])
cells = rows.assign(error=error, covered=covered).groupby(["mean", "estimator"])
print(cells[["error", "se", "covered"]].agg(["mean", "std"]))
print("CPU", time.process_time() - before)
