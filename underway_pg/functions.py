"""What a function says of itself: the function inside its decorators, and its annotations."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, get_type_hints

from .errors import UnresolvedAnnotation

__all__ = ["innermost_function", "resolve_annotations"]


def innermost_function(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function inside decorators, partials, methods and callable objects: the one whose code runs in the end."""
    while True:
        function = inspect.unwrap(function)
        if isinstance(function, functools.partial):
            function = function.func
        elif inspect.ismethod(function):
            function = function.__func__
        elif not inspect.isroutine(function) and inspect.isfunction(call := type(function).__call__):
            function = call
        else:
            return function


def resolve_annotations(job: str, function: Callable[..., Any], annotations: Mapping[str, Any]) -> dict[str, Any]:
    """Annotations of a function, where those that are text are evaluated as the function would."""

    def annotated() -> None: ...

    annotated.__annotations__ = dict(annotations)
    namespace = getattr(innermost_function(function), "__globals__", {})
    try:
        return get_type_hints(annotated, globalns=namespace, include_extras=True)
    except NameError as error:
        raise UnresolvedAnnotation(
            f"job {job}: an annotation cannot be resolved: {error}; import it at run time as well, not only under"
            " TYPE_CHECKING"
        ) from error
