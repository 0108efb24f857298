"""Monte Carlo studies of econometric estimators on data like yours.

A DGP draws a sample; an estimator turns its panel into an estimate; a study crosses DGPs and
designs with estimators; measures summarize.
"""

import typing as _typing

from mcsim._core.startup import Door as _Door
from mcsim._core.startup import use_float64 as _use_float64
from mcsim._version import __version__ as __version__

if _typing.TYPE_CHECKING:
    from mcsim import datasets as datasets
    from mcsim import dgps as dgps
    from mcsim import errors as errors
    from mcsim import estimators as estimators
    from mcsim import generators as generators
    from mcsim import plots as plots
    from mcsim import report as report
    from mcsim._core.design import Design as Design
    from mcsim._core.design import grid as grid
    from mcsim._core.keys import key as key
    from mcsim._core.keys import keys as keys
    from mcsim._core.protocols import DGP as DGP
    from mcsim._core.protocols import Estimator as Estimator
    from mcsim._core.protocols import Generator as Generator
    from mcsim._core.records import Estimate as Estimate
    from mcsim._core.records import Panel as Panel
    from mcsim._core.records import Sample as Sample
    from mcsim._core.records import Status as Status
    from mcsim._data import read_table as read_table
    from mcsim._data.frames import from_frame as from_frame
    from mcsim._data.frames import to_frame as to_frame
    from mcsim._data.schema import Column as Column
    from mcsim._data.schema import Schema as Schema
    from mcsim._data.schema import infer_schema as infer_schema
    from mcsim._fidelity.fidelity import fidelity as fidelity
    from mcsim._fidelity.tables import FidelityTable as FidelityTable
    from mcsim._fidelity.tables import PanelFidelityTable as PanelFidelityTable
    from mcsim._host.files import from_files as from_files
    from mcsim._host.host import host as host
    from mcsim._results.open import open_results as open  # noqa: F401  mcsim.open(store)
    from mcsim._results.read_replications import read_replications as read_replications
    from mcsim._results.results import Results as Results
    from mcsim._run.estimate import estimate as estimate
    from mcsim._run.run import run as run
    from mcsim._run.study import Study as Study
    from mcsim.generators import fit_many as fit_many
    from mcsim.generators import load as load
    from mcsim.generators import model_cache as model_cache
    from mcsim.generators import save as save
    from mcsim.measures import Comparison as Comparison
    from mcsim.measures import compare as compare
    from mcsim.measures import summarize as summarize

_HOMES = {
    "datasets": "mcsim.datasets",
    "dgps": "mcsim.dgps",
    "errors": "mcsim.errors",
    "estimators": "mcsim.estimators",
    "generators": "mcsim.generators",
    "plots": "mcsim.plots",
    "report": "mcsim.report",
    "Design": "mcsim._core.design:Design",
    "grid": "mcsim._core.design:grid",
    "key": "mcsim._core.keys:key",
    "keys": "mcsim._core.keys:keys",
    "DGP": "mcsim._core.protocols:DGP",
    "Estimator": "mcsim._core.protocols:Estimator",
    "Generator": "mcsim._core.protocols:Generator",
    "Estimate": "mcsim._core.records:Estimate",
    "Panel": "mcsim._core.records:Panel",
    "Sample": "mcsim._core.records:Sample",
    "Status": "mcsim._core.records:Status",
    "read_table": "mcsim._data:read_table",
    "from_frame": "mcsim._data.frames:from_frame",
    "to_frame": "mcsim._data.frames:to_frame",
    "Column": "mcsim._data.schema:Column",
    "Schema": "mcsim._data.schema:Schema",
    "infer_schema": "mcsim._data.schema:infer_schema",
    "fidelity": "mcsim._fidelity.fidelity:fidelity",
    "FidelityTable": "mcsim._fidelity.tables:FidelityTable",
    "PanelFidelityTable": "mcsim._fidelity.tables:PanelFidelityTable",
    "from_files": "mcsim._host.files:from_files",
    "host": "mcsim._host.host:host",
    "open": "mcsim._results.open:open_results",
    "read_replications": "mcsim._results.read_replications:read_replications",
    "Results": "mcsim._results.results:Results",
    "estimate": "mcsim._run.estimate:estimate",
    "run": "mcsim._run.run:run",
    "Study": "mcsim._run.study:Study",
    "fit_many": "mcsim.generators:fit_many",
    "load": "mcsim.generators:load",
    "model_cache": "mcsim.generators:model_cache",
    "save": "mcsim.generators:save",
    "Comparison": "mcsim.measures:Comparison",
    "compare": "mcsim.measures:compare",
    "summarize": "mcsim.measures:summarize",
}

__all__ = list(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll]
__getattr__ = _Door(__name__, _HOMES)
__dir__ = __getattr__.names

_use_float64()
