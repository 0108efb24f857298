"""Open a store and summarize it: ``open_store.py STORE ROWS``."""

import sys
import time

import mcsim

opened, _ = mcsim.open, mcsim.summarize  # imported when they are asked for
before = time.process_time()
results = opened(sys.argv[1])
assert len(results.replicates) == int(sys.argv[2])
print(results.summary())
print("CPU", time.process_time() - before)
