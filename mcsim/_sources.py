"""Source code without what does not matter: comments, docstrings, layout."""

import ast
import dis
import hashlib
import inspect
import textwrap
import types
from typing import Any


def normalized_source(thing: Any) -> str:
    """Return the source of a function or class in one layout; its bytecode where there is none.

    Examples
    --------
    >>> normalized_source(lambda x:x  +  1)
    'lambda x: x + 1'
    """
    code = getattr(thing, "__code__", thing)
    try:
        tree = _lambda(code) if _is_lambda(code) else _parse(inspect.getsource(code))
    except (OSError, TypeError, SyntaxError, LookupError):
        return f"bytecode {hashlib.sha256(_bytecode(code).encode()).hexdigest()}"
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and _is_docstring(body[0]):
            body[0] = ast.Pass()
    return ast.unparse(tree)


def names_used(code: types.CodeType) -> tuple[set[str], set[str]]:
    """Return the global names that a body loads and the attributes that it takes of anything.

    Examples
    --------
    >>> loaded, attributes = names_used((lambda x: len(x.shape)).__code__)
    >>> sorted(loaded), "shape" in attributes
    (['len'], True)
    """
    loaded, attributes, codes = set(), set(), [code]
    while codes:
        code = codes.pop()
        attributes.update(code.co_names)
        loaded |= {
            step.argval
            for step in dis.get_instructions(code)
            if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")
        }
        codes += [const for const in code.co_consts if isinstance(const, types.CodeType)]
    return loaded, attributes


def _parse(source: str) -> ast.AST:
    return ast.parse(textwrap.dedent(source))


def _is_lambda(code: Any) -> bool:
    return getattr(code, "co_name", "") == "<lambda>"


def _lambda(code: types.CodeType) -> ast.AST:
    """Find a lambda in its file: the source of its whole statement would tell of its neighbors."""
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
    """Return what a body does as text that is the same in every process."""
    if not isinstance(code, types.CodeType):
        return getattr(code, "__qualname__", repr(code))
    constants = [
        _bytecode(const)
        if isinstance(const, types.CodeType)
        else repr(sorted(const, key=repr) if isinstance(const, frozenset) else const)
        for const in code.co_consts
    ]
    return f"{code.co_code.hex()} {constants} {code.co_names}"
