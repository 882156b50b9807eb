"""Checks of the schema: its version, its functions, its indexes, and who may do what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ..errors import SchemaNewer, SchemaTooOld
from ..schema import check_version
from . import _expected
from ._check import Finding, Limits, problem, warning
from ._facts import Facts

__all__ = ["check_functions", "check_indexes", "check_rights", "check_roles", "check_schema"]

_MIGRATE = "underway migrate"


def check_schema(facts: Facts, limits: Limits) -> Iterator[Finding]:
    """The schema is that of this package, or a newer one that works with it."""
    version, oldest_package = facts.version
    try:
        exact = check_version(version, oldest_package)
    except SchemaTooOld as error:
        yield problem(str(error), version, _MIGRATE)
        return
    except SchemaNewer as error:
        yield problem(str(error), version, "pip install --upgrade underway-pg")
        return
    if not exact:
        yield warning(
            f"the schema has migration {version}, which is newer than this package", version,
            "pip install --upgrade underway-pg",
        )  # fmt: skip
    elif facts.outdated:
        yield problem("the functions are those of another version of the package", version, _MIGRATE)


def _is_ours(facts: Facts) -> bool:
    """Whether the schema is exactly the one of this package, so that what is in it is known."""
    try:
        return check_version(*facts.version) and not facts.outdated
    except (SchemaTooOld, SchemaNewer):
        return False


def check_functions(facts: Facts, limits: Limits) -> Iterator[Finding]:
    """The functions and views are as this package installs them."""
    if not _is_ours(facts):
        return  # they are those of another version, as the check of the schema says
    expected = _expected.bodies()
    found = {name: [row["body"] for row in facts.functions if row["name"] == name] for name in expected}
    missing = [f"function {name}" for name, bodies in expected.items() if len(found[name]) < len(bodies)]
    missing += [f"view {name}" for name in _expected.views() if name not in facts.views]
    if missing:
        yield problem(f"missing: {', '.join(missing)}", missing, _REINSTALL)
    changed = [
        name
        for name, bodies in expected.items()
        if f"function {name}" not in missing and Counter(bodies) - Counter(found[name])
    ]
    if changed:
        yield problem(f"changed by hand: {', '.join(changed)}", changed, _REINSTALL)


_REINSTALL = 'psql "$DATABASE_URL" -c "delete from underway.installation" && underway migrate'


def check_indexes(facts: Facts, limits: Limits) -> Iterator[Finding]:
    """The indexes exist and are valid, and the tables have statistics."""
    known = _expected.indexes() if _is_ours(facts) else []
    for name in sorted({*facts.health["missing_indexes"], *known} - set(facts.indexes)):
        yield problem(
            f"index {name} is missing: statements read whole tables", name,
            f"run what this prints: underway migrate --sql | sed -n '/index {name} /,/;/p'",
        )  # fmt: skip
    for name in facts.health["invalid_indexes"]:
        yield problem(f"index {name} is invalid: no query uses it", name, f"reindex index underway.{name}")
    for table in facts.health["tables"]:
        rows = table["live_rows"] or 0
        if rows >= limits.analyzed_rows and table["last_autoanalyze"] is None and not table.get("last_analyze"):
            yield warning(
                f"table {table['name']} has {rows:,} rows and was never analyzed", rows,
                f"analyze underway.{table['name']}",
            )  # fmt: skip


def check_roles(facts: Facts, limits: Limits) -> Iterator[Finding]:
    """The four roles exist and have the rights of this version; nobody else has any."""
    missing = [role for role in _expected.granted() if role not in facts.roles]
    if missing:
        created = "; ".join(f"create role {role} nologin" for role in missing)
        yield warning(
            f"missing roles: {', '.join(missing)}", missing, f"as a superuser: {created}; then: underway migrate"
        )
    lost, extra = [], []
    for role in facts.roles if _is_ours(facts) else ():
        allowed = _expected.granted()[role]
        for row in facts.functions:
            if row["name"] in allowed and role not in row["roles"]:
                lost.append(f"{role} may not call {row['name']}")
            elif role in row["roles"] and row["name"] not in allowed and row["name"] not in _expected.granted_besides():
                extra.append(f"{role} may call {row['name']}")
    extra += [f"public may call {row['name']}" for row in facts.functions if row["public"]]
    extra += [f"{row['role']} has rights on the table {row['table']}" for row in facts.table_grants]
    if lost:
        yield problem(f"missing rights: {_some(lost)}", lost, _REINSTALL)
    if extra:
        what = f"rights that this version does not grant: {_some(extra)}"
        yield warning(what, extra, f"revoke them, or: {_REINSTALL}")


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def check_rights(facts: Facts, limits: Limits) -> Iterator[Finding]:
    """The user of this connection may do something."""
    if not facts.owner and not any(facts.roles.values()):
        yield problem(
            f"{facts.user} has none of the roles of Underway, and may call nothing", facts.user,
            f'grant underway_worker to "{facts.user}"',
        )  # fmt: skip
