"""The pages. Each module has `routes`, and the queries and actions of its pages; its templates have its name.

A page::

    @page("queues.html", title="Queues")
    async def queues(request: Request, db: Queries) -> dict[str, Any]:
        return {"queues": await db.rows("select queue, ready from underway.queue_stats order by queue")}

    @action("pause_queue")
    async def pause(request: Request, form: FormData, db: Queries) -> Done:
        name = request.path_params["name"]
        changed = await db.run(statements.pause_queue(name))
        return Done(f"Queue {name} is paused." if changed else f"Queue {name} was paused before.")

    routes = [
        Route("/queues", queues, name="queues"),
        Route("/queues/{name:path}/pause", pause, methods=["POST"], name="queue_pause"),
    ]

- A module is listed in `MODULES` below. The names of routes are unique, and the main route of a module has the name
  that `NAVIGATION` in `application.py` gives it.
- `db` is a transaction (`database.py`): read-only with a timeout of five seconds in a page. `db.rows`, `db.row` and
  `db.value` take SQL with %(name)s parameters; rows have their columns as attributes. `db.run` takes a statement of
  `underway_pg.statements`.
- `@action(name)` is for POST only. `name` is the SQL function that it calls: the action is refused unless the database
  role may call it, the user may act, and the CSRF token is right. The wrapper writes the audit row with this name, the
  path parameters and `Done.details` in the same transaction, and redirects to `Done.to`, or back, with the message.
  What the database refuses (DatabaseRefusal) becomes a message too. For other wrong input raise `InputError("what;
  what to do")`. Inside, `form.get("field")` and `form.getlist("field")`.
- With several databases the function of a page is called for each, with a `request` whose links lead to that database.
  `@page(..., merge=merging("queues"))` makes one page of what it returned for each (`merging.py`): its rows get the
  attribute `shard`. Without `merge` the page has a section for each database, made from the same template. An action
  gets the database that `url(..., {"shard": row.shard})` names, or that of the `{id:int}` in its path.
- A page that does not find its object raises `HTTPException(404, "There is no queue named mail.")`; bad query
  parameters raise `HTTPException(400, ...)`. The text is shown to people.
- A dangerous action is asked for first: a GET page that returns `await confirm(request, ...)` (it is a Response).
- A queue, job or key may have any characters, also a slash: declare `{name:path}`, and use the link of `url`, which
  quotes. Routes match in their order: put `/queues/{name:path}/pause` before `/queues/{name:path}`.

In templates, which extend `base.html` and fill the block `content` (and `actions`, which is beside the heading):

- `url("queue", name=q.queue)`, `url("tasks", {"state": ["failed"]})` with a query. Never write a path by hand.
- `may("pause_queue")` tells whether to show a button; `why_not("pause_queue")` says why not. `form_button` asks itself.
- `{% import "macros.html" as ui with context %}` gives `ui.state(task.state)`, `ui.badge(text, kind)`, `ui.empty(title,
  text)`, `ui.pager(older=..., newest=...)`, `ui.form_button(label, action, name, fields, kind)`, `ui.task_link(id)`,
  `ui.queue_link(name)`, `ui.job_link(name)`, `ui.stat(label, value, note, href)` inside `<dl class="stats">`, and
  `ui.csrf_fields()`, which every form of a POST needs. See macros.html.
- `ui.shard_head()` and `ui.shard_cell(row)` are the column with the database, where several are listed. A link of such
  a row gets `{"shard": row.shard | default(shard)}`, and a form of GET `ui.shard_field()`.
- `sparkline(values, label)` is a small SVG. Filters: `count`, `short`, `duration`, `bytes`, `percent`, and
  `at | when(now)`.
- A table stands in `<div class="table-wrap"><table class="table">`, numbers in `<td class="num">`. Its rows get the
  keyboard (j, k, Enter) when the first link of the row is its object. Cards are `<section class="card">` with `<h2>`; a
  grid of them is `<div class="grid">`. Facts are `<dl class="facts"><div><dt>..<dd>..</div></dl>`.
- No style attributes and no inline scripts: the Content-Security-Policy forbids them.
- `<main data-live>` is fetched again every few seconds. The script waits while a field in it has the focus or was
  changed, or a box is checked. `live=False` turns it off for a page.
- Long texts of tasks go through `{{ text }}` (escaped) in `<pre class="code">`; never use `| safe`.
"""

from __future__ import annotations

from . import (
    audit,
    batches,
    bulk,
    database,
    dead_letters,
    failures,
    jobs,
    overview,
    queues,
    schedules,
    task,
    tasks,
    workers,
)

__all__ = ["MODULES"]

MODULES = (
    overview, tasks, bulk, task, failures, dead_letters, queues, jobs, workers, schedules, batches, database, audit,
)  # fmt: skip
