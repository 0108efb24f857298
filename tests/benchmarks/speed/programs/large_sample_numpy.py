"""The same as a loop: ``large_sample_numpy.py N REPS``."""

import sys
import time

import numpy as np

n, reps = map(int, sys.argv[1:])
before, rng, found = time.process_time(), np.random.default_rng(0), []
for _ in range(reps):
    x, noise = rng.normal(size=(2, n))
    y = x + noise
    x, y = x - x.mean(), y - y.mean()
    slope = (x @ y) / (x @ x)
    residual = y - slope * x
    found.append([slope, np.sqrt(n / (n - 2) * ((x * residual) ** 2).sum()) / (x @ x)])
error, se = np.array(found).T - [[1.0], [0.0]]
print(error.mean(), error.std(), se.mean(), (np.abs(error) < 1.96 * se).mean())
print("CPU", time.process_time() - before)
