"""The output of a job: what its function returned as the JSON of a finished task, and back."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cached_property
from typing import Any, get_args

import pydantic_core
from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError

from .arguments import error_path
from .errors import ConfigurationError, InputError, InvalidOutput, UnresolvedAnnotation
from .functions import resolve_annotations
from .statements import dump_json

__all__ = ["Output"]


class Output:
    """What a job's function returns, and how a caller that waits for a task receives it.

    The value is written as it is, whatever the annotation says, so that a wrong annotation fails no task. It is
    validated by the annotation when it is read.
    """

    def __init__(self, job: str, function: Callable[..., Any]) -> None:
        self._job = job
        self._function = function

    def to_json(self, output: Any) -> str:
        """What the function returned as JSON text. Raises InputError when JSON cannot carry it."""
        try:
            output = pydantic_core.to_jsonable_python(output, by_alias=True, round_trip=True)
        except ValueError as error:
            raise InputError(f"job {self._job}: the output does not fit into JSON: {error}") from error
        return dump_json(output)

    def from_json(self, output: Any) -> Any:
        """The output of a task, plain JSON, as the function returned it: plain JSON if its annotation is Any or none.

        Raises InvalidOutput when it does not fit the annotation, and ConfigurationError for an annotation by which
        nothing can be validated.
        """
        if self._adapter is None:
            return output
        try:
            return self._adapter.validator.validate_json(dump_json(output), by_alias=True, by_name=True)
        except ValidationError as error:
            # The values are in the task. They must not appear in logs and errors, as pydantic's own text has them.
            details = error.errors(include_url=False, include_input=False)
            why = "; ".join(f"{error_path(detail['loc'])}: {detail['msg']}".removeprefix(": ") for detail in details)
            raise InvalidOutput(
                f"job {self._job}: the output does not fit the return annotation {_name(self._annotation)}: {why};"
                " app.wait_for(id) returns it as plain JSON"
            ) from None

    @cached_property
    def _annotation(self) -> Any:
        annotation = inspect.signature(self._function).return_annotation
        if annotation is inspect.Signature.empty:
            return Any
        return resolve_annotations(self._job, self._function, {"return": annotation})["return"]

    @cached_property
    def _adapter(self) -> TypeAdapter[Any] | None:
        if self._annotation is Any:
            return None
        try:
            return TypeAdapter(self._annotation)
        except PydanticUndefinedAnnotation as error:
            raise UnresolvedAnnotation(f"job {self._job}: an annotation cannot be resolved: {error}") from error
        except PydanticUserError as error:
            raise ConfigurationError(
                f"job {self._job}: JSON cannot be read as its return annotation {_name(self._annotation)}:"
                f" {error.message.splitlines()[0]}; app.wait_for(id) returns the output as plain JSON"
            ) from error


def _name(annotation: Any) -> str:
    return annotation.__qualname__ if isinstance(annotation, type) and not get_args(annotation) else str(annotation)
