"""Spellings of Stata, R, fixest, patsy and linearmodels, and the spelling of mcsim for each."""

import re

_STATA = re.compile(r"(?P<operator>[LlFfDdSs]|[IiCcOo]|[Ii]?[Bb])(?P<order>\d*)\.(?P<column>\w+)")
_LAGS_OF = re.compile(r"\.(?P<column>\w+)")  # the rest of L(1/3).x
_CALL = re.compile(r"(?P<function>[\w.]+)\((?P<inside>.*)\)", re.DOTALL)

CATEGORY = (
    "name the column alone; one that from_frame(frame, categorical=[...]) took as categories "
    "enters as a column of 0 and 1 for each level but one"
)
_LEAD = "a formula has no leads: make a column of them, frame.groupby(unit)[{0!r}].shift(-1)"
_EARLIER = "make a column of it before: frame.assign(...)"
_SEVERAL = "write an estimator for each formula: estimators=[ols('y ~ a'), ols('y ~ a + b')]"
_EVENTS = "effects by event time are event_study, callaway_santanna or imputation"
_EFFECTS = "effects stand after a bar, 'y ~ x | unit + time'"

_FUNCTIONS = {
    **dict.fromkeys(("l", "L", "Lag", "shift", "lags"), "lag"),
    **dict.fromkeys(("d", "D", "diff", "delta"), "write I({0} - lag({0}))"),
    **dict.fromkeys(("f", "F", "lead", "leads"), _LEAD),
    **dict.fromkeys(("C", "i", "factor", "as.factor", "as_factor", "Categorical"), CATEGORY),
    **dict.fromkeys(("poly", "bs", "ns", "cr", "cc"), "write the powers, {0} + I({0}**2)"),
    **dict.fromkeys(("scale", "center", "standardize", "demean", "ave"), _EARLIER),
    **dict.fromkeys(("sw", "sw0", "csw", "csw0", "mvsw"), _SEVERAL),
    "ln": "write log({0})",
    "log1p": "write log(1 + {0})",
    "log10": "write I(log({0}) / log(10))",
    "sunab": _EVENTS,
    "get_dummies": CATEGORY,
    "Q": "rename the column: letters, digits and _ alone",
}

_PACKAGES = ("np", "numpy", "jnp", "math", "pd")

_NAMES = {
    "EntityEffects": _EFFECTS,
    "TimeEffects": _EFFECTS,
    "FixedEffects": _EFFECTS,
    "OtherEffects": _EFFECTS,
}


def written_here(piece: str) -> str:
    """Return mcsim's spelling of a piece of another program's formula; empty if it is none.

    Examples
    --------
    >>> written_here("L2.x")
    'write lag(x, 2)'
    >>> written_here("l(x, 1)")
    'write lag(x)'
    >>> written_here("np.log(x)")
    'write log(x)'
    """
    if match := _LAGS_OF.fullmatch(piece):
        return _lag(match["column"], "several")
    if match := _STATA.fullmatch(piece):
        return _of_stata(match["operator"].upper(), match["order"], match["column"])
    if not (match := _CALL.fullmatch(piece)):
        return _NAMES.get(piece, "")
    column, _, rest = (part.strip() for part in match["inside"].partition(","))
    package, _, function = match["function"].rpartition(".")
    remedy = _FUNCTIONS.get(match["function"]) or _FUNCTIONS.get(function, "")
    if package in _PACKAGES and function in ("log", "sqrt", "exp"):
        return f"write {function}({match['inside']})"
    if package not in ("", "as", *_PACKAGES):  # a method: x.shift(1)
        column, rest = package, match["inside"]
    if remedy == "lag" or (function == "lag" and ":" in rest):
        return _lag(column, rest) if re.search("[a-zA-Z_]", column) else _lag("x", "several")
    return _EVENTS if function == "i" and rest else remedy.format(column)


def _of_stata(operator: str, order: str, column: str) -> str:
    if operator == "L":
        return _lag(column, order)
    if operator in ("D", "S"):
        return f"write I({column} - {_lag(column, order).removeprefix('write ')})"
    if operator == "F":
        return _LEAD.format(column)
    return f"write {column}" if operator == "C" else CATEGORY


def _lag(column: str, order: str) -> str:
    if order in ("", "1"):
        return f"write lag({column})"
    if order.isdigit():
        return f"write lag({column}, {order})"
    return f"write each lag, lag({column}) + lag({column}, 2)"
