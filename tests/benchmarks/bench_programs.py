"""Programs of each door: ``python tests/benchmarks/bench_programs.py [part of a name] [--names]``.

Each door (a fit, a draw, a fidelity table) runs in a process of its own, with an empty compile
cache, and again with the cache that this left. For both are printed: programs compiled or read,
those of them read from the cache, CPU seconds of the door after the imports, and the seconds in
which JAX traced, lowered and compiled (or read). ``--names`` prints the programs of a cold door
by name. Networks train for few steps: what counts here is compiling.
"""

import json
import logging
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter

COLUMNS = ("programs", "read", "CPU", "trace", "lower", "compile")
EVENTS = {
    "jaxpr_trace_duration": "trace",
    "jaxpr_to_mlir_module_duration": "lower",
    "backend_compile_duration": "compile",
}


def men():
    """LaLonde's experimental men: a cross-section of 445."""
    import mcsim

    return mcsim.from_frame(mcsim.datasets.load("lalonde_experimental"))


def units():
    """60 units over 8 periods: two paths, one of them heaped, a trait and a group."""
    import numpy as np

    import mcsim

    rng = np.random.default_rng(19)
    level = rng.normal(size=(60, 1))
    wage = level + rng.normal(size=(60, 8)) + np.linspace(0, 1, 8)
    hours = np.where(rng.uniform(size=(60, 8)) < 0.2, 40.0, 40 + level + rng.normal(size=(60, 8)))
    female = (rng.uniform(size=(60, 1)) < 0.4) * np.ones(8)
    region = np.repeat(np.arange(6.0), 10)[:, None] * np.ones(8)
    panel = mcsim.Panel({"wage": wage, "hours": hours, "female": female, "region": region})
    return panel, mcsim.infer_schema(panel)


def long_panel():
    import numpy as np

    import mcsim

    rng = np.random.default_rng(19)
    panel = mcsim.Panel({"growth": 2 + rng.normal(size=40) + rng.standard_t(5, size=(12, 40))})
    return panel, mcsim.infer_schema(panel)


def fit(trainer, data, given=()):
    import mcsim

    panel, schema = data()
    return trainer.fit(mcsim.key(1), panel, given=list(given), schema=schema, progress=False)


def fit_and_draw(trainer, data, given=()):
    import mcsim

    fitted, panel = fit(trainer, data, given), data()[0]
    asked = {"given": {name: panel[name] for name in given}} if given else {}
    for number in (2, 3):
        fitted.sample(mcsim.key(number), panel.n_units, **asked)


def fidelity_of_men():
    import mcsim
    from mcsim import generators
    from mcsim.estimators import aipw, difference_in_means

    panel, schema = men()
    rest = " + ".join(name for name in panel if name not in ("treat", "re78"))
    mcsim.fidelity(
        panel, {"copies": generators.Autoregressive(steps=SHORT)}, key=mcsim.key(1), schema=schema,
        given=["treat"], outcome="re78", splits=3, permutations=99, n_generated=2000,
        estimators=[difference_in_means("re78 ~ treat"), aipw(f"re78 ~ treat | {rest}")],
    )  # fmt: skip


def fidelity_of_units():
    import mcsim
    from mcsim import generators
    from mcsim.estimators import fixed_effects

    panel, schema = units()
    table = mcsim.fidelity(
        panel, {"mine": generators.GaussianCopula()}, key=mcsim.key(1), schema=schema, splits=3,
        replications=40, permutations=99, outcome="wage",
        estimators={"within": fixed_effects("wage ~ hours | unit + time")},
    )  # fmt: skip
    print(table, file=sys.stderr)


def study_of_units():
    import mcsim
    from mcsim import generators
    from mcsim.dgps import at_random, with_effect
    from mcsim.estimators import did, fixed_effects

    fitted = fit(generators.GaussianCopula(), units)
    designs = mcsim.grid(effect_scale=[1.0, 2.0])
    dgp = with_effect(fitted, outcome="wage", assignment=at_random(n_treated=10, start=4),
                      effect=0.5, n_units=60)  # fmt: skip
    estimators = {"twfe": fixed_effects("wage ~ d | unit + time", term="d", estimand="att"),
                  "did": did("wage ~ d")}  # fmt: skip
    mcsim.run(mcsim.Study(dgp, estimators, designs), reps=100, workers=0, progress=False)


SHORT = 80  # steps of training


def doors():
    from mcsim import generators as g

    few = {"steps": SHORT}
    return {
        "VAE, panel": lambda: fit(g.VAE(**few), units),
        "Flow, panel": lambda: fit(g.Flow(**few), units),
        "WGAN, panel": lambda: fit(g.WGAN(**few), units),
        "GAN, panel": lambda: fit(g.GAN(**few), units),
        "Autoregressive, panel": lambda: fit(g.Autoregressive(**few), units),
        "WGAN, men": lambda: fit(g.WGAN(**few), men, ["treat"]),
        "Autoregressive, men": lambda: fit(g.Autoregressive(**few), men, ["treat"]),
        "GaussianCopula, men": lambda: fit(g.GaussianCopula(), men, ["treat"]),
        "GaussianCopula, panel": lambda: fit(g.GaussianCopula(), units),
        "GaussianMixture, panel": lambda: fit(g.GaussianMixture(), units),
        "FactorVAR, panel": lambda: fit(g.FactorVAR(), units),
        "MacroPanel": lambda: fit(g.MacroPanel(steps=2, panels=4), long_panel),
        "UnitBootstrap, panel": lambda: fit(g.UnitBootstrap(), units),
        "SmoothedBootstrap, panel": lambda: fit(g.SmoothedBootstrap(), units),
        "BlockBootstrap, panel": lambda: fit(g.BlockBootstrap(), units),
        "VAE, fit and two draws": lambda: fit_and_draw(g.VAE(**few), units),
        "WGAN of men, fit and two draws": lambda: fit_and_draw(g.WGAN(**few), men, ["treat"]),
        "GaussianCopula, fit and two draws": lambda: fit_and_draw(g.GaussianCopula(), units),
        "UnitBootstrap, fit and two draws": lambda: fit_and_draw(g.UnitBootstrap(), units),
        "fidelity of men": fidelity_of_men,
        "fidelity of units": fidelity_of_units,
        "study of units": study_of_units,
    }


class Clock(threading.Thread):
    """Notes CPU seconds of the process at many times, for JAX reports durations by the wall."""

    def __init__(self):
        super().__init__(daemon=True)
        self.notes = [(time.perf_counter(), time.process_time())]
        self.spans = {kind: [] for kind in EVENTS.values()}

    def run(self):
        while True:
            self.notes.append((time.perf_counter(), time.process_time()))
            time.sleep(0.005)

    def ended(self, kind, duration):
        now = time.perf_counter()
        self.notes.append((now, time.process_time()))
        self.spans[kind].append((now - duration, now))

    def seconds(self, kind):
        """Return the CPU seconds of all spans; those inside another one count once."""
        import numpy as np

        walls, cpus = np.array(sorted(self.notes)).T
        total, until = 0.0, 0.0
        for start, end in sorted(self.spans[kind]):
            if end > until:
                total += np.diff(np.interp([max(start, until), end], walls, cpus))[0]
                until = end
        return total


def measure(name: str) -> dict[str, float | dict[str, int]]:
    """Run a door here; return what JAX did meanwhile."""
    import warnings

    import jax

    import mcsim.generators  # noqa: F401

    warnings.simplefilter("ignore")
    clock, names, read = Clock(), Counter(), Counter()

    def on_duration(event: str, duration: float, **about: object) -> None:
        if kind := EVENTS.get(event.rsplit("/", 1)[-1]):
            clock.ended(kind, duration)

    class Names(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if hit := re.match(r"Finished XLA compilation of (\S+)", record.getMessage()):
                names[hit.group(1)] += 1

    jax.monitoring.register_event_duration_secs_listener(on_duration)
    jax.monitoring.register_event_listener(
        lambda event, **_: read.update(hits=event.endswith("/cache_hits"))
    )
    logger = logging.getLogger("jax._src.dispatch")
    logger.addHandler(Names())
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    work = doors()[name]
    clock.start()
    start = time.process_time()
    work()
    return {
        "programs": len(clock.spans["compile"]),
        "read": read["hits"],
        "CPU": time.process_time() - start,
        **{kind: clock.seconds(kind) for kind in EVENTS.values()},
        "names": dict(names),
    }


def in_a_process(name: str, cache: str) -> dict:
    command = [sys.executable, __file__, "--measure", name]
    environment = {**os.environ, "MCSIM_COMPILE_CACHE": cache}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{name}\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def line(name: str, found: dict) -> str:
    cells = [f"{found[column]:.{2 * (place > 1)}f}" for place, column in enumerate(COLUMNS)]
    return f"| {name} | {' | '.join(cells)} |"


def main(arguments: list[str]) -> None:
    asked = [word for word in arguments if not word.startswith("--")]
    print(f"| door | {' | '.join(COLUMNS)} |\n|:--|{'--:|' * len(COLUMNS)}", flush=True)
    for name in doors():
        if asked and not any(word in name for word in asked):
            continue
        with tempfile.TemporaryDirectory() as cache:
            cold = in_a_process(name, cache)
            print(line(name, cold), flush=True)
            if "--cold" not in arguments:
                print(line(f"{name}, again", in_a_process(name, cache)), flush=True)
        if "--names" in arguments:
            pairs = sorted(cold["names"].items(), key=lambda pair: -pair[1])
            print(", ".join(f"{program} {n}" for program, n in pairs), flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measure(sys.argv[2])))
    else:
        main(sys.argv[1:])
