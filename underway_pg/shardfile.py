"""The file that names the databases of an application that uses several: `--shards FILE`."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .connections import read_dsn
from .errors import ConfigurationError

__all__ = ["Shard", "read_shards"]

_EXAMPLE = '[eu] number = 0 dsn = "postgresql://user@host/database", each on a line of its own'


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One of several databases: its name, its number in the high bits of ids, and its dsn."""

    name: str
    number: int
    dsn: str


def read_shards(path: Path) -> list[Shard]:
    """The shards of a TOML file, which has a table for each, named as the shard, with `number` and `dsn`.

    Raises ConfigurationError, which never shows a dsn, when the file cannot be read or names a shard twice.
    """
    try:
        tables = tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror or error}") from None
    except ValueError as error:
        raise ConfigurationError(f"{path} is not TOML: {error}") from None
    shards = [_shard(path, name, table) for name, table in tables.items()]
    if not shards:
        raise ConfigurationError(f"{path} names no shard; write {_EXAMPLE}")
    by_number: dict[int, Shard] = {}
    for shard in shards:
        other = by_number.setdefault(shard.number, shard)
        if other is not shard:
            raise ConfigurationError(f"{path}: {other.name} and {shard.name} have the same number, {shard.number}")
    return shards


def _shard(path: Path, name: str, table: Any) -> Shard:
    if not re.fullmatch(r"[\w.-]+", name, re.ASCII):
        raise ConfigurationError(f"{path}: {name!r} is no name of a shard; use letters, digits, - _ and .")
    if not isinstance(table, dict) or set(table) != {"number", "dsn"}:
        raise ConfigurationError(f"{path}: {name} is not a table with number and dsn alone; write {_EXAMPLE}")
    number = table["number"]
    if type(number) is not int or not 0 <= number <= 511:
        raise ConfigurationError(
            f"{path}: the number of {name} is {number!r}; give that of underway migrate --shard, 0 to 511"
        )
    try:
        return Shard(name=name, number=number, dsn=read_dsn(table["dsn"]))
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {name}: {error}") from None
