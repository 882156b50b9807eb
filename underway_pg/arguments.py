"""The arguments of a job: from Python to the JSON of a task, and back."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NotRequired

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError
from pydantic.fields import FieldInfo
from pydantic_core import from_json
from typing_extensions import TypedDict

from .errors import ConfigurationError, InputError, UnknownArguments, UnresolvedAnnotation
from .functions import resolve_annotations

__all__ = ["Arguments", "error_path"]


class Arguments:
    """The parameters of a job's function: what an input holds, how it is made of arguments, and how it is read.

    An input is a JSON object whose keys are the names of the parameters. One pydantic schema describes all of it. An
    argument is validated and converted by its annotation when a task is enqueued and again when it runs. So that the
    handler receives what was enqueued, every input is read once more before it is enqueued, and compared.
    """

    def __init__(self, job: str, function: Callable[..., Any], context_type: type) -> None:
        self._job = job
        parameters, hints = _parameters(job, function)
        self.takes_context = bool(parameters) and hints.get(parameters[0].name) is context_type
        if self.takes_context:
            del parameters[0]
        for parameter in parameters:
            if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL):
                raise ConfigurationError(
                    f"job {job}: the parameter {parameter} has no name that an input could use: make it a named one;"
                    " a decorator that takes *args needs functools.wraps"
                )
            if hints.get(parameter.name) is context_type:
                raise ConfigurationError(f"job {job}: the Context must be the first parameter")
            if isinstance(parameter.default, FieldInfo):
                raise ConfigurationError(
                    f"job {job}: the default of {parameter.name} is a pydantic Field: write Annotated[..., Field(...)]"
                )
        self._signature = inspect.Signature(parameters)
        adapter = _adapter(job, parameters, hints)
        self._validator, self._serializer = adapter.validator, adapter.serializer

    def to_input(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The input of a task with these arguments.

        Raises InputError when their names or values do not fit, or when the handler would not receive them as they are.
        """
        given = self.by_name(args, kwargs) if args else kwargs
        try:
            arguments = self._validator.validate_python(given)
        except ValidationError as error:
            raise self._does_not_fit(error, given) from error
        try:
            text = self._serializer.to_json(arguments, by_alias=True, round_trip=True, warnings=False)
        except (ValueError, TypeError, RecursionError) as error:
            raise InputError(f"job {self._job}: {_short(given)} cannot be kept as JSON: {error}") from error
        try:
            received = self._read(_as_stored(text))
        except ValidationError as error:
            why = "; ".join(f"{error_path(detail['loc'])}: {detail['msg']}" for detail in error.errors())
            raise InputError(
                f"job {self._job}: the worker could not read the arguments back from JSON: {why}"
            ) from error
        if not _equal(arguments, received):
            for name, value in arguments.items():
                if not _equal(value, received.get(name)):
                    raise InputError(
                        f"job {self._job}: argument {name}={_short(value)} does not survive the way through JSON: the"
                        f" handler would receive {_received(name, value, received.get(name))}; annotate the parameter"
                        " with a type that does"
                    )
        input: dict[str, Any] = from_json(text)
        return input

    def from_input(self, text: bytes) -> dict[str, Any]:
        """The arguments in an input, which is JSON text.

        Raises UnknownArguments when the names in it do not fit the function, and InputError when a value does not fit.
        """
        try:
            return self._read(text)
        except ValidationError as error:
            # The values are in the task. They must not appear in logs and errors, as pydantic's own text has them.
            raise self._does_not_fit(error, None) from None

    @property
    def defaults(self) -> dict[str, Any]:
        """The defaults of the parameters that have one."""
        parameters = self._signature.parameters.values()
        return {each.name: each.default for each in parameters if each.default is not each.empty}

    def _read(self, text: bytes) -> dict[str, Any]:
        arguments: dict[str, Any] = self._validator.validate_json(text, by_alias=True, by_name=True)
        return arguments

    def by_name(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, partial: bool = False) -> dict[str, Any]:
        """Arguments by their names; with `partial` some may be missing. Raises InputError when they do not fit."""
        bind = self._signature.bind_partial if partial else self._signature.bind
        try:
            bound = bind(*args, **kwargs)
        except TypeError as error:
            raise InputError(f"job {self._job}: {error}; it takes {self._signature}") from None
        given: dict[str, Any] = {}
        for name, value in bound.arguments.items():
            if self._signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
                given.update(value)
            else:
                given[name] = value
        return given

    def _does_not_fit(self, error: ValidationError, given: Mapping[str, Any] | None) -> InputError:
        """The error to raise for one of pydantic; with the values of the arguments when they are given."""
        missing, unknown, wrong = [], [], []
        for detail in error.errors(include_url=False, include_input=False):
            path, problem = detail["loc"], detail["type"]
            if problem == "missing" and len(path) == 1:
                missing.append(repr(path[0]))
            elif problem == "extra_forbidden" and len(path) == 1:
                unknown.append(repr(path[0]))
            elif problem == "json_invalid":
                return InputError(f"job {self._job}: the input cannot be read: {detail['msg']}")
            elif not path:
                return InputError(f"job {self._job}: the input is not an object with the arguments: {detail['msg']}")
            else:
                value = f"={_short(given.get(str(path[0])))}" if given is not None and len(path) == 1 else ""
                wrong.append(f"argument {error_path(path)}{value} does not fit: {detail['msg']}")
        names = [f"missing argument {name}" for name in missing] + [f"unknown argument {name}" for name in unknown]
        if names:
            # Not from an enqueue: a worker puts a task with UnknownArguments back, and a handler may enqueue.
            kind = UnknownArguments if given is None else InputError
            return kind(f"job {self._job}: {', '.join(names)}; it takes {self._signature}")
        return InputError(f"job {self._job}: {'; '.join(wrong)}")


# What a function takes


def _parameters(job: str, function: Callable[..., Any]) -> tuple[list[inspect.Parameter], dict[str, Any]]:
    """The parameters of a function and their resolved annotations."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
        given = {each.name: each.annotation for each in parameters if each.annotation is not each.empty}
        return parameters, resolve_annotations(job, function, given)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"job {job}: its parameters cannot be read: {error}") from error


def _adapter(job: str, parameters: list[inspect.Parameter], hints: Mapping[str, Any]) -> TypeAdapter[Any]:
    """What validates and serializes all arguments. Raises ConfigurationError for a type that JSON cannot carry."""
    types: dict[str, Any] = {}
    others: dict[str, Any] = {"closed": True}
    for parameter in parameters:
        kind = hints.get(parameter.name, Any)
        if parameter.kind is parameter.VAR_KEYWORD:
            others = {"extra_items": kind}
        else:
            types[parameter.name] = kind if parameter.default is parameter.empty else NotRequired[kind]
    make: Any = TypedDict
    shape = make("Arguments", types, **others)
    cause: PydanticUserError | None = None
    why = ""
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(shape)
        if not any(_unfit(adapter.core_schema)):
            return adapter
    except PydanticUndefinedAnnotation as error:
        raise UnresolvedAnnotation(f"job {job}: an annotation cannot be resolved: {error}") from error
    except PydanticUserError as error:
        cause, why = error, error.message.splitlines()[0]
    for parameter in parameters:
        try:
            unfit = list(_unfit(TypeAdapter(hints.get(parameter.name, Any)).core_schema))
        except PydanticUserError as error:
            cause, unfit = error, [error.message.splitlines()[0]]
        if unfit:
            raise ConfigurationError(
                f"job {job}: parameter {parameter} has a type that JSON cannot carry: {unfit[0]}. Pass an id or plain"
                " data, and look the object up in the job"
            ) from cause
    raise ConfigurationError(f"job {job}: its parameters cannot be validated: {why}") from cause


_UNFIT_KINDS = {
    "callable": "a callable",
    "is-subclass": "a class",
    "generator": "an iterator or Iterable, whose type does not say what to make of it; take a list",
}


def _unfit(schema: Any) -> Iterator[str]:
    """Why values of a type cannot pass through JSON, as far as pydantic's schema of the type shows it."""
    if isinstance(schema, (list, tuple)):
        for each in schema:
            yield from _unfit(each)
    elif isinstance(schema, dict):
        if schema.get("type") in _UNFIT_KINDS:
            yield _UNFIT_KINDS[schema["type"]]
        # A serializer replaces those of the parts: one that reveals a secret makes it pass.
        serializer = schema.get("serialization")
        if serializer is not None:
            function = serializer.get("function")
            if getattr(function, "__module__", "") == "pydantic.types" and "secret" in function.__name__:
                yield "a secret, which is stored as asterisks; store the secret elsewhere and pass its name"
        else:
            for each in schema.values():
                yield from _unfit(each)


# Comparing


# A number with an exponent that is not negative: 1e25, or 1e+25 by newer versions of pydantic.
_EXPONENT = re.compile(rb"\de\+?\d")


def _as_stored(text: bytes) -> bytes:
    """JSON text as PostgreSQL returns it from jsonb: without exponents, so that 1e+25 is an integer."""
    if _EXPONENT.search(text) is None:
        return text
    return json.dumps(json.loads(text, parse_float=_plain_number)).encode()


def _plain_number(text: str) -> int | float:
    number = Decimal(text)
    return int(number) if _EXPONENT.search(text.encode()) and number == number.to_integral_value() else float(text)


def _equal(given: Any, received: Any) -> bool:
    """Whether a handler would see no difference.

    Where == says no, the parts of both are compared: a class may not define ==, and an ambiguous local time equals no
    time with another kind of zone.
    """
    try:
        if bool(given == received):
            return True
        if isinstance(given, datetime) and isinstance(received, datetime):
            return bool(given.tzinfo and received.tzinfo) and given.astimezone(UTC) == received.astimezone(UTC)
    except Exception:  # as of an array, any class's own ==, or a time at the end of the calendar
        return False
    if type(given) is not type(received):
        return False
    parts = _parts(given, received)
    return parts is not None and all(_equal(one, other) for _, one, other in parts)


def _parts(given: Any, received: Any) -> list[tuple[Any, Any, Any]] | None:
    """The names and values of the parts of two values of one type; None when they have not the same parts, or none."""
    if isinstance(given, dict):
        return [(key, given[key], received[key]) for key in given] if given.keys() == received.keys() else None
    if isinstance(given, (list, tuple)):
        return list(zip(range(len(given)), given, received, strict=True)) if len(given) == len(received) else None
    if isinstance(given, BaseModel):
        names = [*type(given).model_fields, "__pydantic_extra__", "__pydantic_private__"]
    elif is_dataclass(given):
        names = [field.name for field in fields(given)]
    else:
        defines_equality = any("__eq__" in vars(kind) for kind in type(given).__mro__[:-1])
        names = [] if defines_equality else list(getattr(given, "__dict__", ()))
    return [(name, getattr(given, name), getattr(received, name, None)) for name in names] or None


# Words


def error_path(path: tuple[int | str, ...]) -> str:
    """Where in a value something is wrong, as pydantic says it, in words."""
    return ".".join(map(str, path))


def _received(name: str, given: Any, received: Any) -> str:
    """What a handler would receive; with the part that differs where the text of the whole does not show it."""
    text = _short(received)
    if text != _short(given):
        return text
    path, one, other = _difference(name, given, received)
    return (
        f"the same but for {path}, which was {_short(one)} of type {type(one).__qualname__} and would be"
        f" {_short(other)} of type {type(other).__qualname__}"
    )


def _difference(path: str, given: Any, received: Any) -> tuple[str, Any, Any]:
    """The path to the innermost part in which two values differ, and the part in both."""
    if type(given) is type(received):
        for name, one, other in _parts(given, received) or ():
            if not _equal(one, other):
                return _difference(f"{path}.{name}", one, other)
    return path, given, received


def _short(value: Any) -> str:
    try:
        return f"{value!r:.200}"
    except Exception:  # somebody else's code, and only for a message
        return f"an object of type {type(value).__name__}"
