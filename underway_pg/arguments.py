"""Arguments of a job: from Python to the JSON of a task, and back."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from importlib.util import find_spec
from typing import Any, get_type_hints

from .errors import ConfigurationError, InputError, UnknownArguments

__all__ = ["Signature"]


class Signature:
    """The parameters of a job: what an input must hold, and how it becomes arguments and back.

    An input is a JSON object with the parameters' names as keys. With pydantic installed, values are validated and
    converted by the annotations, both when enqueueing and when running; without, only names are checked.
    """

    def __init__(self, function: Callable[..., Any], context_type: type) -> None:
        self._name = function.__name__
        try:
            hints = get_type_hints(function)
        except NameError as error:
            raise ConfigurationError(f"job {self._name}: an annotation cannot be resolved: {error}") from error
        parameters = list(inspect.signature(function).parameters.values())
        self.takes_context = bool(parameters) and hints.get(parameters[0].name) is context_type
        if self.takes_context:
            del parameters[0]
        for parameter in parameters:
            if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL):
                raise ConfigurationError(
                    f"job {self._name}: parameter {parameter} has no name that an input could use; make it a named one"
                )
            if hints.get(parameter.name) is context_type:
                raise ConfigurationError(f"job {self._name}: the Context must be the first parameter")
        self._signature = inspect.Signature(parameters)
        named = [parameter for parameter in parameters if parameter.kind is not parameter.VAR_KEYWORD]
        self._known = {parameter.name for parameter in named}
        self._required = {parameter.name for parameter in named if parameter.default is parameter.empty}
        self._converters = _converters(self._name, parameters, hints) if find_spec("pydantic") else {}
        self._whole = self._validator() if self._converters and len(named) == len(parameters) else None

    def _validator(self) -> Any:
        """A validator of whole inputs: one call for all arguments."""
        from pydantic_core import SchemaError, SchemaValidator, core_schema

        fields = {
            name: core_schema.typed_dict_field(
                self._converters[name].schema if name in self._converters else core_schema.any_schema(),
                required=name in self._required,
            )
            for name in self._known
        }
        try:
            return SchemaValidator(core_schema.typed_dict_schema(fields, extra_behavior="forbid"))
        except SchemaError:  # two arguments of one model, which cannot be defined twice in a schema
            return None

    def to_input(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The input of a task for these arguments. Raises InputError when they do not fit."""
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise InputError(f"job {self._name}: {error}") from None
        return self._convert(_flat(self._signature, bound.arguments), "to_input")

    def to_arguments(self, text: bytes) -> dict[str, Any]:
        """The arguments that an input, as JSON text, holds. Raises InputError when they do not fit."""
        if self._whole is not None:
            try:
                arguments: dict[str, Any] = self._whole.validate_json(text)
            except ValueError:
                pass  # said argument by argument below
            else:
                return arguments
        try:
            input = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"job {self._name}: the input cannot be read: {error}") from None
        if not isinstance(input, dict):
            raise InputError(f"job {self._name}: the input is not an object with the arguments")
        if self._whole is not None or not self._required <= input.keys() <= self._known:
            try:
                self._signature.bind(**input)
            except TypeError as error:
                raise UnknownArguments(f"job {self._name}: {error}") from None
        return self._convert(input, "to_arguments")

    def _convert(self, values: Mapping[str, Any], direction: str) -> dict[str, Any]:
        converted = {}
        for name, value in values.items():
            converter = self._converters.get(name)
            try:
                converted[name] = value if converter is None else getattr(converter, direction)(value)
            except ValueError as error:
                # The value of a task is in its input, and must not appear in the worker's log.
                what = f"{name}={value!r:.200}" if direction == "to_input" else name
                raise InputError(f"job {self._name}: argument {what} does not fit: {_why(error)}") from error
        return converted


def _why(error: ValueError) -> str:
    """What is wrong, in one line; pydantic's errors know several."""
    details = getattr(error, "errors", None)
    return "; ".join(detail["msg"] for detail in details()) if callable(details) else str(error)


def _flat(signature: inspect.Signature, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Bound arguments by name, those of a `**kwargs` among them."""
    flat: dict[str, Any] = {}
    for name, value in arguments.items():
        if signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
            flat.update(value)
        else:
            flat[name] = value
    return flat


class _Converter:
    """One parameter's values between Python and JSON, by pydantic."""

    def __init__(self, adapter: Any) -> None:
        self._adapter = adapter
        self.schema = adapter.core_schema

    def to_input(self, value: Any) -> Any:
        import pydantic_core

        # Not dump_python(mode="json"), which makes a null of what is not a number.
        return pydantic_core.to_jsonable_python(self._adapter.dump_python(self._adapter.validate_python(value)))

    def to_arguments(self, value: Any) -> Any:
        return self._adapter.validate_python(value)


def _converters(job: str, parameters: Iterable[inspect.Parameter], hints: Mapping[str, Any]) -> dict[str, _Converter]:
    import pydantic

    converters = {}
    for parameter in parameters:
        if parameter.kind is parameter.VAR_KEYWORD or parameter.name not in hints:
            continue
        try:
            converters[parameter.name] = _Converter(pydantic.TypeAdapter(hints[parameter.name]))
        except pydantic.errors.PydanticSchemaGenerationError as error:
            raise ConfigurationError(
                f"job {job}: parameter {parameter} has a type that JSON cannot carry; "
                "pass an id or plain data and look the object up in the job"
            ) from error
    return converters
