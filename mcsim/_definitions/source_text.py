"""Source code of functions and classes as text, and the names that a body refers to.

The text is the same under every version of Python: comments, docstrings and layout are left out,
and f-strings are written as their parts, since each version unparses them in another way. Only a
body without source is described by its bytecode, which names the version.
"""

import ast
import dis
import hashlib
import importlib
import importlib.util
import inspect
import re
import sys
import textwrap
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

_BY_TEXT = {"getattr", "attrgetter", "methodcaller", "vars", "__dict__"}  # take attributes by text
_OF_SPACE = {"globals", "eval", "exec"}  # take globals by text
_CALLED = re.compile(r"\b([A-Za-z_]\w*)\s*[(.]")  # in the text of a formula
_WORD = re.compile(r"[A-Za-z_]\w*")
_HAS_DOCSTRING = 0x4000000  # flag of code since Python 3.13


def source_text(
    thing: Any, is_left_out: Callable[[ast.expr], bool] = lambda decorator: False
) -> str:
    """Return the source of a function or class in one layout; its bytecode where there is none.

    Parameters
    ----------
    thing : function or class
        The thing.
    is_left_out : callable
        Returns whether to leave a decorator out of the text.

    Examples
    --------
    >>> source_text(lambda x:x  +  1)
    'lambda x: x + 1'
    >>> source_text(lambda x: f"{x:.2f} units")
    "lambda x: f-string(format(x, '.2f'), ' units')"
    """
    code = getattr(thing, "__code__", thing)
    try:
        tree = _lambda(code) if _is_lambda(code) else _parse(inspect.getsource(code))
    except (OSError, TypeError, SyntaxError, LookupError):
        digest = hashlib.sha256(_bytecode(code).encode()).hexdigest()
        return f"bytecode of Python {sys.version_info.major}.{sys.version_info.minor}: {digest}"
    definition = tree.body[0] if isinstance(tree, ast.Module) and tree.body else tree
    if isinstance(definition, ast.FunctionDef | ast.AsyncFunctionDef):
        decorators = definition.decorator_list
        definition.decorator_list = [one for one in decorators if not is_left_out(one)]
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and _is_docstring(body[0]):
            body[:] = body[1:] or [ast.Pass()]
    return ast.unparse(_PartsOfStrings().visit(tree))


def names_used(code: types.CodeType) -> tuple[set[str], set[str]]:
    """Return the global names that a body loads and the attributes that it takes of anything.

    Examples
    --------
    >>> loaded, attributes = names_used((lambda x: len(x.shape)).__code__)
    >>> sorted(loaded), "shape" in attributes
    (['len'], True)
    """
    loaded, attributes = set(), set()
    for inner in _codes(code):
        attributes.update(inner.co_names)
        loaded |= {
            step.argval
            for step in dis.get_instructions(inner)
            if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")
        }
    return loaded, attributes


class Uses(NamedTuple):
    """The values that a function's body refers to.

    Attributes
    ----------
    values : dict of str to object
        Globals, closed-over values and imports of the body, by name; of a library that the body
        imports, the name of the module as a `Library`.
    attributes : set of str
        Names that the body takes of anything, such as a module.
    """

    values: dict[str, Any]
    attributes: set[str]


class Library(str):
    """The name of a library's module that a body imports; it is not imported to be described."""

    __slots__ = ()


def values_used(function: types.FunctionType, is_library: Callable[[str], bool]) -> Uses:
    """Return the values that a function's body refers to, by name and by text.

    Parameters
    ----------
    function : function
        A user's function.
    is_library : callable
        Returns whether a module is a library's; other modules imported in the body are imported.

    Examples
    --------
    >>> uses = values_used(lambda frame: source_text(frame), lambda module: False)
    >>> list(uses.values)
    ['source_text']
    """
    code, space = function.__code__, function.__globals__
    loaded, attributes = names_used(code)
    values = {name: space[name] for name in loaded if name in space}
    cells = zip(code.co_freevars, function.__closure__ or (), strict=True)
    values |= {name: cell.cell_contents for name, cell in cells if _is_filled(cell)}
    held = [*values.values(), function.__defaults__, function.__kwdefaults__]
    texts = [*_texts_of(code), *_texts_within(held)]
    words = {word for text in texts for word in _CALLED.findall(text)}
    named = {word: space[word] for word in words if _is_named(space.get(word))}
    names = loaded | attributes
    if names & _OF_SPACE:
        words = {word for text in texts for word in _WORD.findall(text)}
        named |= {word: space[word] for word in words if word in space}
    if names & _BY_TEXT:
        attributes |= {text for text in texts if text.isidentifier()}
    return Uses({**named, **values, **_imported(function, is_library)}, attributes)


def _is_named(value: Any) -> bool:
    return callable(value) or isinstance(value, types.ModuleType)


def _imported(function: types.FunctionType, is_library: Callable[[str], bool]) -> dict[str, Any]:
    """Return the modules and their parts that a body imports itself, by the import."""
    found: dict[str, Any] = {}
    for name, level, parts in _imports(function.__code__):
        package = function.__globals__.get("__package__") or ""
        try:
            full = importlib.util.resolve_name("." * level + name, package)
            if is_library(full):
                found[f"import {full}"] = Library(full)
                continue
            module = importlib.import_module(full)
        except (Exception, SystemExit) as error:
            found[f"import {name}"] = f"cannot be imported: {type(error).__name__}"
            continue
        if not parts:
            root = full.partition(".")[0]
            found[f"import {root}"] = sys.modules[root]
        found |= {f"from {full} import {part}": _part_of(module, part) for part in parts}
    return found


def _imports(code: types.CodeType) -> Iterator[tuple[str, int, tuple[str, ...]]]:
    """Yield module, level and names of every import statement in a body."""
    for inner in _codes(code):
        constants: list[Any] = []
        for step in dis.get_instructions(inner):
            if step.opname.startswith("LOAD_"):
                constants.append(step.argval)
            elif step.opname == "IMPORT_NAME":
                level, names = constants[-2:]
                yield step.argval, level, names or ()


def _part_of(module: types.ModuleType, name: str) -> Any:
    """Return an attribute of a module, or a module within a package."""
    if not hasattr(module, name):
        try:
            return importlib.import_module(f"{module.__name__}.{name}")
        except (Exception, SystemExit) as error:
            return f"cannot be imported: {type(error).__name__}"
    return getattr(module, name)


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """Yield a body and all bodies within it."""
    yield code
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            yield from _codes(const)


def _texts_of(code: types.CodeType) -> Iterator[str]:
    """Yield the strings in a body, docstrings apart."""
    for inner in _codes(code):
        first = inner.co_flags & _HAS_DOCSTRING
        if sys.version_info < (3, 13):  # where the first constant is the docstring or None
            first = not inner.co_name.startswith("<")
        yield from _texts_within(inner.co_consts[1 if first else 0 :])


def _texts_within(values: Any) -> Iterator[str]:
    """Yield the strings in collections of collections."""
    if isinstance(values, str):
        yield values
    elif isinstance(values, dict):
        yield from _texts_within([*values, *values.values()])
    elif type(values) in (list, tuple, set, frozenset):
        for value in values:
            yield from _texts_within(value)


def _is_filled(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:
        return False


class _PartsOfStrings(ast.NodeTransformer):
    """Writes f-strings as calls with their parts, and merges the texts between values."""

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.expr:
        parts = _merged(self.visit(value) for value in node.values)
        return ast.Call(ast.Name("f-string"), parts, [])

    def visit_FormattedValue(self, node: ast.FormattedValue) -> ast.expr:
        value = self.visit(node.value)
        names = {ord("r"): "repr", ord("s"): "str", ord("a"): "ascii"}
        if node.conversion in names:
            value = ast.Call(ast.Name(names[node.conversion]), [value], [])
        pieces = node.format_spec.values if isinstance(node.format_spec, ast.JoinedStr) else []
        spec = _merged(self.visit(piece) for piece in pieces)
        return ast.Call(ast.Name("format"), [value, *spec], []) if spec else value


def _merged(parts: Iterable[ast.expr]) -> list[ast.expr]:
    merged: list[ast.expr] = []
    for part in parts:
        last = merged[-1] if merged else None
        if not (isinstance(part, ast.Constant) and isinstance(part.value, str)):
            merged.append(part)
        elif isinstance(last, ast.Constant) and isinstance(last.value, str):
            merged[-1] = ast.Constant(last.value + part.value)
        elif part.value:
            merged.append(part)
    return merged


def _parse(source: str) -> ast.Module:
    return ast.parse(textwrap.dedent(source))


def _is_lambda(code: Any) -> bool:
    return getattr(code, "co_name", "") == "<lambda>"


def _lambda(code: types.CodeType) -> ast.AST:
    """Find a lambda in its file: its whole statement would bring its neighbors in."""
    lines, _ = inspect.findsource(code)
    here = [
        node
        for node in ast.walk(ast.parse("".join(lines)))
        if isinstance(node, ast.Lambda) and node.lineno == code.co_firstlineno
    ]
    if len(here) == 1:
        return here[0]
    places = set(code.co_positions())
    found = [node for node in here if _position(node.body) in places]
    if not found:
        raise LookupError("no lambda there")
    return found[0]


def _position(node: ast.expr) -> tuple[int | None, ...]:
    return node.lineno, node.end_lineno, node.col_offset, node.end_col_offset


def _is_docstring(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _bytecode(code: Any) -> str:
    """Return a body, or all bodies of a class, as text that is the same in every process."""
    if isinstance(code, type):
        members = [getattr(member, "__code__", None) for member in vars(code).values()]
        return f"{code.__qualname__} {[_bytecode(member) for member in members if member]}"
    if not isinstance(code, types.CodeType):
        return getattr(code, "__qualname__", repr(code))
    constants = [
        _bytecode(const)
        if isinstance(const, types.CodeType)
        else repr(sorted(const, key=repr) if isinstance(const, frozenset) else const)
        for const in code.co_consts
    ]
    return f"{code.co_code.hex()} {constants} {code.co_names}"
