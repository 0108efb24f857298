"""Every generator's row: ``pytest -o addopts= tests/benchmarks/bench_panel_fidelity.py -q``.

`mcsim.fidelity` with 20 half splits on wages and hours of 545 men over 8 years, on growth of
product and employment of 48 states over 16 years, and on employment and wages of 140 firms over 5
years, which no recipe was tuned on. Printed as Markdown for the docs; nothing is asserted.
MCSIM_ROWS names some of the generators only, with semicolons between them.
"""

import os
import time

import numpy as np
import pytest

import mcsim
from mcsim.generators import GAN, VAE, WGAN, Autoregressive, Flow

TRAINERS = {
    "VAE": VAE(),
    "VAE, lstm": VAE(arch="lstm"),
    "Autoregressive": Autoregressive(),
    "Flow": Flow(),
    "WGAN": WGAN(),
    "GAN": GAN(),
    "WGAN, lstm": WGAN(arch="lstm"),
    "GAN, lstm": GAN(arch="lstm"),
}
SPLITS = 20


def wages():
    """Log wages and hours of young men, 1980 to 1987."""
    frame = mcsim.datasets.load("wage_panel")
    return mcsim.from_frame(frame[["nr", "year", "lwage", "hours"]], unit="nr", time="year")


def states():
    """Growth of gross state product and employment, percent, 1971 to 1986."""
    frame = mcsim.datasets.load("munnell").sort_values(["state", "year"])
    for name in ("gsp", "emp"):
        frame[f"d_{name}"] = 100 * np.log(frame[name]).groupby(frame["state"]).diff()
    kept = frame.dropna(subset="d_gsp")[["state", "year", "d_gsp", "d_emp"]]
    return mcsim.from_frame(kept, unit="state", time="year")


def firms():
    """Logs of employment and of the wage, 1978 to 1982: the years in which all firms are seen."""
    frame = mcsim.datasets.load("abdata").query("1978 <= year <= 1982")
    logs = {"log_emp": np.log(frame["emp"]), "log_wage": np.log(frame["wage"])}
    kept = frame[["firm", "year"]].assign(**logs)
    return mcsim.from_frame(kept, unit="firm", time="year")


@pytest.mark.parametrize("data", [wages, states, firms])
def test_rows(data, capsys):
    panel, schema = data()
    asked = os.environ.get("MCSIM_ROWS", "; ".join(TRAINERS)).split("; ")
    trainers = {name: TRAINERS[name] for name in asked}
    start = time.perf_counter()
    table = mcsim.fidelity(panel, trainers, key=mcsim.key(4), schema=schema, splits=SPLITS)
    with capsys.disabled():
        print(f"\n{data.__name__}, {SPLITS} splits, {time.perf_counter() - start:.0f} s\n")
        print(rows(table))
        print(f"\n{table}")


def rows(table):
    """One line of Markdown for each generator."""
    head = "generator|score|ratio to the best reference|nearest-neighbor ratio|AUC|"
    head += "widest log ratio|placebo dates right/wrong/not resolvable"
    lines = [f"| {head.replace('|', ' | ')} |", "|:--|--:|--:|--:|--:|--:|--:|"]
    for name in table.verdicts:
        lines.append("| " + " | ".join([name, *cells(table, name)]) + " |")
    return "\n".join(lines)


def cells(table, name):
    """The figures of a row."""
    score = table.score.query("generator == @name and component == 'score'").iloc[0]
    measures = table.measures.query("generator == @name").set_index("measure")["value"]
    own = table.inference.query("generator == @name")
    verdicts = [int((own["verdict"] == v).sum()) for v in ("right", "wrong", "not resolvable")]
    ratio = f"{score['ratio']:.2f} [{score['ratio_lower']:.2f}, {score['ratio_upper']:.2f}]"
    return [
        f"{score['value']:.2f}",
        ratio,
        f"{measures['nn_ratio']:.2f}",
        f"{measures['auc_holdout']:.2f}",
        f"{own['value'].abs().max():.2f}",
        "/".join(map(str, verdicts)),
    ]
