"""Notes and caveats under a table of results, as sentences.

- Notes of estimators on the panels; see `Diagnosed`.
- Rows that are judged given common shocks, with their mark and its explanation.
- Limits and p-values of an estimator's own, which are not at the level and null of the table.
- Stored rows of a variance whose name has another meaning since.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mcsim._core.protocols import LEVEL, NULL
from mcsim._results.store import Store
from mcsim._results.store_files import is_there
from mcsim._results.store_records import CellRecord, EstimatorRecord

# Notes of estimators on panels

Means = Mapping[str, float]


def means_of(chunks: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the mean of each diagnosis over the panels on which it is a number.

    Parameters
    ----------
    chunks : sequence of dict of str to array (rep,)
        From `diagnose_chunk`, of one length; a diagnosis that a chunk lacks is 0 there.
    """
    arrays = {name: np.ravel(array) for chunk in chunks for name, array in chunk.items()}
    joined = {
        name: np.concatenate([np.ravel(chunk.get(name, np.zeros_like(one))) for chunk in chunks])
        for name, one in arrays.items()
    }
    known = {name: numbers[np.isfinite(numbers)] for name, numbers in joined.items()}
    return {name: float(numbers.mean()) for name, numbers in known.items() if numbers.size}


def note_sentences(found: Iterable[tuple[str, Means]]) -> list[str]:
    """Return a sentence for every diagnosis that is not 0 everywhere.

    Parameters
    ----------
    found : iterable of (estimator, dict of str to float)
        Means, one entry for every estimator of a cell.

    Examples
    --------
    >>> note_sentences([("did", {"one treated cluster": 1.0}), ("ols", {"one treated cluster": 0})])
    ['did: one treated cluster: 1']
    """
    of: dict[tuple[str, str], list[float]] = {}
    for estimator, means in found:
        for name, mean in means.items():
            of.setdefault((estimator, name), []).append(mean)
    return [
        f"{estimator}: {name}: {_range(means)}"
        for (estimator, name), means in of.items()
        if any(means)
    ]


def _range(means: Sequence[float]) -> str:
    figures = [f"{mean:.3g}" for mean in (min(means), max(means))]
    return " to ".join(dict.fromkeys(figures))


# Rows that are judged given common shocks. Driscoll-Kraay errors and those clustered by period, or
# two-way, allow for shocks that units share; a DGP with fixed shocks draws none.

MARK = " †"

NOTE = (
    "† allows for common shocks, which are the same in every replication here (common_shocks="
    "'fixed'): judged given these shocks; common_shocks='redraw' draws them anew."
)

_FOR_SHOCKS = re.compile(r"DK\b|.*\(.*(\btime\b|\+).*\)")  # DK(3), CR1(time), CR1(unit + time)


def conditional_rows(rows: pd.DataFrame, study: Mapping[str, Any]) -> pd.Series:
    """Return which rows have errors that allow for shocks, on a DGP whose shocks are fixed.

    Examples
    --------
    >>> rows = pd.DataFrame({"dgp": [*"aaab"], "inference": ["CR1", "CR1(time)", "DK(2)", "DK"]})
    >>> conditional_rows(rows, {"common_shocks": {"a": "fixed", "b": "redraw"}}).tolist()
    [False, True, True, False]
    """
    shocks = study.get("common_shocks", {})
    fixed = rows["dgp"].map(lambda name: shocks.get(name) == "fixed").astype(bool)
    return fixed & rows["inference"].fillna("").astype(str).str.match(_FOR_SHOCKS)


# An estimator's own limits and p-values. Missing ones are completed by mcsim at any level and null.
# Its own stay as they are: at the study's, where the estimator took them (see
# `_core.protocols`), else at an unknown level and null.


def limits_left_behind(rows: pd.DataFrame, of_study: float, asked: float | None) -> list[str]:
    """Return the estimates whose own limits stay at the study's level in a table of another.

    Parameters
    ----------
    rows : pandas.DataFrame
        The rows as they are stored, before mcsim completes them.
    of_study, asked : float
        The level of the study, and the one to open it at.
    """
    if asked is None or asked == of_study or not (names := _with_own(rows, "lower", "upper")):
        return []
    return [
        f"The limits of {_listed(names)} are the estimators' own: they stay at {of_study:.0%}, the "
        f"level of the study, not at {asked:.0%}."
    ]


def out_of_reach(rows: pd.DataFrame, study: Mapping[str, Any]) -> list[str]:
    """Return a sentence on own limits or p-values at another level or null than the study's.

    Parameters
    ----------
    rows : pandas.DataFrame
        The rows as they are stored.
    study : mapping
        Its null and level, and ``taken``: which of them each estimator took.
    """
    limits = _not_from_study(_with_own(rows, "lower", "upper"), "level", study)
    p_values = _not_from_study(_with_own(rows, "p_value"), "null", study)
    sentences = []
    if limits and study["level"] != LEVEL:
        sentences.append(
            f"The limits of {_listed(limits)} are the estimators' own, at a level that the study "
            f"does not decide: they may not be at {study['level']:.0%}."
        )
    if p_values and study["null"] != NULL:
        sentences.append(
            f"The p-values of {_listed(p_values)} are the estimators' own, of a null that the "
            f"study does not decide: they may not test {study['null']:g}."
        )
    return sentences


def _with_own(rows: pd.DataFrame, *columns: str) -> list[tuple[str, str]]:
    """Return (estimator, inference) of the estimates with a number of their own in a column."""
    own = np.logical_or.reduce([rows[column].notna() for column in columns])
    pairs = rows.loc[own, ["estimator", "inference"]].drop_duplicates()
    return [(str(estimator), str(inference)) for estimator, inference in pairs.to_numpy()]


def _not_from_study(
    names: list[tuple[str, str]], what: str, study: Mapping[str, Any]
) -> list[tuple[str, str]]:
    return [pair for pair in names if what not in study.get("taken", {}).get(pair[0], ())]


def _listed(names: list[tuple[str, str]]) -> str:
    return ", ".join(f"{estimator} {inference}".strip() for estimator, inference in names)


# Names of variances with another meaning since a version: rows stored before keep their numbers.


class Mended(NamedTuple):
    """Variances that meant something else before a version.

    Attributes
    ----------
    before : (int, int)
        The first version with the present meaning.
    option, value : str
        The option of an estimator, and its value, under which the meaning differed.
    names : frozenset of str
        The names of the variances.
    sentence : str
        Description of the stored rows, and the remedy.
    """

    before: tuple[int, int]
    option: str
    value: str
    names: frozenset[str]
    sentence: str


MENDED = (
    Mended(
        before=(0, 3),
        option="ssc",
        value="fixest-0.13",
        names=frozenset({"HC2", "HC3"}),
        sentence="were stored by mcsim {version}, where ssc='fixest-0.13' multiplied these "
        "variances with n/(n - k); since 0.3 it does not, and ssc='pyfixest-0.60' does. Run the "
        "study in a new store.",
    ),
)
"""All of them; see decision 0017."""


def remarks_on_mended(store: Store, study: Mapping[str, Any]) -> list[str]:
    """Return a sentence for every estimator whose stored rows have the former meaning."""
    found: dict[str, None] = {}
    options: dict[str, dict[str, Any]] = {}  # by hash: a definition is the same in all cells
    for cell in study["cells"]:
        version = _version(store, cell["hash"])
        for name, estimator in cell["estimators"]:
            if estimator not in options:
                file = store.estimator(cell["hash"], estimator) / "est.json"
                record = store.read(file, EstimatorRecord) if is_there(file) else {}
                options[estimator] = _options(record.get("definition"))
            found |= dict.fromkeys(_of_estimator(name, options[estimator], version))
    return list(found)


def _of_estimator(name: str, options: Mapping[str, Any], version: tuple[int, ...]) -> Iterator[str]:
    for mended in MENDED:
        names = [v for v in options.get("vcov", ()) if v in mended.names]
        if names and options.get(mended.option) == mended.value and version < mended.before:
            sentence = mended.sentence.format(version=".".join(map(str, version)))
            yield f"{' and '.join(names)} of estimator {name!r} {sentence}"


def _version(store: Store, cell: str) -> tuple[int, ...]:
    environment = store.read(store.cell(cell) / "cell.json", CellRecord)["environment"]
    return tuple(map(int, environment["mcsim"].split(".")))


def _options(definition: Any) -> dict[str, Any]:
    """Return the options of a native estimator's definition; other definitions name none."""
    options = definition.get("options", ()) if isinstance(definition, dict) else ()
    pairs = isinstance(options, list) and all(isinstance(o, list) and len(o) == 2 for o in options)
    return {str(name): value for name, value in options} if pairs else {}
