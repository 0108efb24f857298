"""Predicted against true: how well does a learned panel predict the size of a test?

    python tests/benchmarks/bench_predicted_rates.py FOLDER [--only NAME] [--realizations 20]
        [--reps 4000] [--truth 40000] [--resampled]

One panel is drawn from a distribution of known truth; each method predicts from it the rejection
rates of 5 % tests of a placebo treatment; they are set against those of fresh panels of the
distribution. Distributions: `predicted_rates.distributions`; methods, designs and tests:
`predicted_rates.rates`. FOLDER keeps the rates of every realization: a run that was stopped goes
on. ``--resampled`` adds the wild bootstrap and randomization inference, which take much longer.
"""

import argparse
from pathlib import Path

from predicted_rates.distributions import DISTRIBUTIONS
from predicted_rates.rates import CLOSED, RESAMPLED, all_rates
from predicted_rates.tables import as_text, averages, errors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", action="append", choices=DISTRIBUTIONS, metavar="NAME")
    parser.add_argument("--realizations", type=int, default=20)
    parser.add_argument("--reps", type=int, default=4000)
    parser.add_argument("--truth", type=int, default=40_000)
    parser.add_argument("--resampled", action="store_true")
    asked = parser.parse_args()
    names, tests = asked.only or list(DISTRIBUTIONS), CLOSED + RESAMPLED * asked.resampled
    reps = (asked.truth, asked.reps)
    table = errors(all_rates(asked.folder, names, asked.realizations, tests, reps))
    print("Root mean square error of the predicted rate, percentage points (90 % interval), bias,")
    print("[difference in squared errors to the raw panel's, in standard errors]")
    for design in dict.fromkeys(table["design"]):
        for test in tests:
            print(f"\n## {design}, {test}\n\n{as_text(table, design, test)}")
    print(f"\n## Over distributions\n\n{averages(table).round(3).to_markdown(index=False)}")


if __name__ == "__main__":
    main()
