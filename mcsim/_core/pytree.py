"""Frozen dataclasses as pytrees: named fields are leaves, the others compile-time constants."""

import dataclasses
import functools
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")

ADDED_LATER = {"added_later": True}
"""Metadata of a field that older definitions and model files lack; see `identity_fields`."""


def stored_as(name: str) -> Mapping[str, str]:
    """Return the metadata of a field that definitions and model files hold under another name."""
    return {"stored_as": name}


def stored_name(field: dataclasses.Field) -> str:
    """Return the name of a field in definitions and model files."""
    return field.metadata.get("stored_as", field.name)


def identity_fields(thing: Any) -> dict[str, Any]:
    """Return the fields that identify a dataclass, by stored name: its equality compares them.

    A field that was added later counts once it differs from its default, so that older definitions
    and files keep their identity.
    """
    return {
        stored_name(field): getattr(thing, field.name)
        for field in dataclasses.fields(thing)
        if field.compare
        and not (ADDED_LATER.items() <= field.metadata.items() and _holds_default(thing, field))
    }


def _holds_default(thing: Any, field: dataclasses.Field) -> bool:
    return getattr(thing, field.name) == field.default


_REGISTERING = threading.Lock()


def registers_once(register: Callable[[], None]) -> Callable[[], None]:
    """Return a function that registers classes with JAX at its first call alone.

    Classes that a worker process uses without JAX call it when the first object is made.
    """

    @functools.cache
    def once() -> None:
        with _REGISTERING, suppress(ValueError):  # of two threads at once, the second
            register()

    return once


def pytree(*data: str) -> Callable[[type[T]], type[T]]:
    """Register a dataclass as a pytree whose leaves are in the fields ``data``.

    Unlike with JAX's own decorator, unflattening skips ``__init__``: its checks and conversions are
    for users, not for tracers and placeholders of JAX.

    Parameters
    ----------
    *data : str
        Names of the fields with arrays; all others must be hashable.

    Examples
    --------
    >>> import jax
    >>> @pytree("x")
    ... @dataclasses.dataclass(frozen=True)
    ... class Scaled:
    ...     x: float
    ...     name: str
    >>> jax.tree.map(lambda leaf: 2 * leaf, Scaled(1.5, "a"))
    Scaled(x=3.0, name='a')
    """
    import jax

    def register(cls: type[T]) -> type[T]:
        fields = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
        static = [name for name in fields if name not in data]

        def flatten_with_keys(thing: T):
            keyed = [(jax.tree_util.GetAttrKey(name), getattr(thing, name)) for name in data]
            return keyed, tuple(getattr(thing, name) for name in static)

        def flatten(thing: T):
            leaves = [getattr(thing, name) for name in data]
            return leaves, tuple(getattr(thing, name) for name in static)

        def unflatten(constants: tuple, leaves: Iterable[Any]) -> T:
            thing = object.__new__(cls)
            for name, value in zip((*data, *static), (*leaves, *constants), strict=True):
                object.__setattr__(thing, name, value)
            return thing

        jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)
        return cls

    return register
