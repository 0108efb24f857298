"""Open a store and summarize it: ``open_store.py STORE ROWS``."""

import sys
import time

import mcsim

before = time.process_time()
results = mcsim.open(sys.argv[1])
assert len(results.replicates) == int(sys.argv[2])
print(results.summary())
print("CPU", time.process_time() - before)
