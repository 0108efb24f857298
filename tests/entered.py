"""Files of mcsim that a call enters: how many a reader has to open to follow it.

A file is entered when a function in it is called, in any thread. All modules are imported before,
so that imports do not count, and inputs are made here. Each case runs in a process of its own,
since what JAX has compiled is not entered again::

    python tests/entered.py            # all cases
    python tests/entered.py vae        # one

When the count began it found 62 files for run, 35 for vae, 25 for copula, 51 for fidelity and 11
for from_frame.
"""

import importlib
import json
import pkgutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).parent.parent / "mcsim"
APART = ("mcsim.__main__",)


def import_everything() -> None:
    """Import all modules of mcsim, and the libraries that fits and fidelity import late."""
    import mcsim

    for module in pkgutil.walk_packages(mcsim.__path__, "mcsim."):
        if module.name not in APART:
            importlib.import_module(module.name)
    for name in dir(mcsim):
        getattr(mcsim, name)


def files_entered(call: Callable[[], Any]) -> list[str]:
    """Return the files of mcsim in which a function is entered during a call."""
    entered: set[str] = set()

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code.co_name != "<module>":
            entered.add(frame.f_code.co_filename)

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    inside = (Path(file) for file in entered if Path(file).is_relative_to(ROOT))
    return sorted(file.relative_to(ROOT).as_posix() for file in inside)


def prepared_run() -> Callable[[], Any]:
    """A study of native parts into a store that is new, one worker."""
    from mcsim import Study, run
    from mcsim.dgps import ErrorComponents
    from mcsim.estimators import ols

    dgp, estimator = ErrorComponents(n_units=20, n_periods=4), ols("y ~ x")
    store = Path(tempfile.mkdtemp()) / "store"
    study = Study({"components": dgp}, {"ols": estimator})
    return lambda: run(study, reps=10, store=store, workers=1, progress=False)


def prepared_vae() -> Callable[[], Any]:
    """A fit of few steps."""
    import mcsim
    from mcsim.generators import VAE

    key, panel = mcsim.key(0), small_panel()
    return lambda: VAE(hidden=(4,), steps=3, folds=2).fit(key, panel, progress=False)


def prepared_copula() -> Callable[[], Any]:
    import mcsim
    from mcsim.generators import GaussianCopula

    key, panel = mcsim.key(0), small_panel()
    return lambda: GaussianCopula().fit(key, panel, progress=False)


def prepared_fidelity() -> Callable[[], Any]:
    """The table of a cross-section, with an estimator and a small network."""
    import mcsim
    from mcsim.estimators import difference_in_means
    from mcsim.generators import WGAN

    trainer = WGAN(hidden=(4,), critic_hidden=(4,), steps=2, batch_size=16, critic_steps=1)
    options: dict[str, Any] = {"splits": 2, "n_generated": 300, "permutations": 9}
    estimators = {"means": difference_in_means("y ~ d")}
    key, real = mcsim.key(0), small_cross_section()
    return lambda: mcsim.fidelity(
        real, {"wgan": trainer}, key=key, given=["d"], outcome="y", estimators=estimators, **options
    )


def prepared_from_frame() -> Callable[[], Any]:
    """A long frame with a unit, a time and a category."""
    import pandas as pd

    import mcsim

    frame = pd.DataFrame(
        {
            "state": ["a", "a", "b", "b"],
            "year": [2000, 2001, 2000, 2001],
            "y": [1.0, 2.0, 3.0, 4.0],
            "kind": ["u", "v", "u", "u"],
        }
    )
    return lambda: mcsim.from_frame(frame, unit="state", time="year", categorical=["kind"])


def small_panel() -> Any:
    import numpy as np

    import mcsim

    rng = np.random.default_rng(0)
    level = rng.normal(size=(30, 1))
    hours = np.where(rng.uniform(size=(30, 6)) < 0.2, 40.0, 40 + level + rng.normal(size=(30, 6)))
    return mcsim.Panel({"wage": level + rng.normal(size=(30, 6)), "hours": hours})


def small_cross_section() -> Any:
    import numpy as np

    import mcsim

    rng = np.random.default_rng(0)
    x, treated = rng.normal(size=60), (np.arange(60) % 3 == 0).astype(float)
    return mcsim.Panel({"d": treated, "x": x, "y": x + treated + rng.normal(size=60)})


LIMITS = {"run": 47, "vae": 22, "copula": 16, "fidelity": 46, "from_frame": 11}
"""The most files that a case may enter. Since the house was built a run has packs, rows of studies
and a screen of their own; autoregressions left the file of factor models, which had grown."""

CASES = {
    "run": prepared_run,
    "vae": prepared_vae,
    "copula": prepared_copula,
    "fidelity": prepared_fidelity,
    "from_frame": prepared_from_frame,
}


def entered_by(case: str) -> list[str]:
    """Return the files that a case enters, counted in a process of its own."""
    command = [sys.executable, __file__, "--here", case]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main(arguments: list[str]) -> None:
    """Print the files that each case enters, and their number."""
    if arguments[:1] == ["--here"]:
        import_everything()
        print(json.dumps(files_entered(CASES[arguments[1]]())))
        return
    for case in arguments or CASES:
        files = entered_by(case)
        print(f"{case}: {len(files)} files", *(f"  {file}" for file in files), sep="\n")


if __name__ == "__main__":
    main(sys.argv[1:])
