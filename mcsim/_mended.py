"""Names whose meaning was mended: rows stored before keep the old numbers and get a remark."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from mcsim._store import Store
from mcsim._store_files import is_there
from mcsim._store_records import CellRecord, EstimatorRecord


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
        What the rows hold.
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
"""All of them; decision 0017 says why."""


def remarks_on_mended(store: Store, study: Mapping[str, Any]) -> list[str]:
    """Return a sentence for every estimator whose stored rows have a meaning of before."""
    found = (
        sentence
        for cell in study["cells"]
        for name, estimator in cell["estimators"]
        for sentence in _of_estimator(store, cell["hash"], name, estimator)
    )
    return list(dict.fromkeys(found))


def _of_estimator(store: Store, cell: str, name: str, estimator: str) -> Iterator[str]:
    version = _version(store, cell)
    file = store.estimator(cell, estimator) / "est.json"
    definition = store.read(file, EstimatorRecord)["definition"] if is_there(file) else None
    options = _options(definition)
    for mended in MENDED:
        names = [v for v in options.get("vcov", ()) if v in mended.names]
        if names and options.get(mended.option) == mended.value and version < mended.before:
            sentence = mended.sentence.format(version=".".join(map(str, version)))
            yield f"{' and '.join(names)} of estimator {name!r} {sentence}"


def _version(store: Store, cell: str) -> tuple[int, ...]:
    environment = store.read(store.cell(cell) / "cell.json", CellRecord)["environment"]
    return tuple(map(int, environment["mcsim"].split(".")))


def _options(definition: Any) -> dict[str, Any]:
    """Return the options of a native estimator's definition; those of another have no names."""
    options = definition.get("options", ()) if isinstance(definition, dict) else ()
    pairs = isinstance(options, list) and all(isinstance(o, list) and len(o) == 2 for o in options)
    return {str(name): value for name, value in options} if pairs else {}
