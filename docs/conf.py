"""The documentation site. `make docs` builds it (tools/site.py)."""

import re
from typing import Any

from django.conf import settings
from pygments.lexers import PostgresLexer
from sphinx.application import Sphinx

import underway_pg

project = "Underway"
author = copyright = "The Underway contributors"
version = release = underway_pg.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["README.md"]
highlight_language = "text"
default_role = "py:obj"

myst_enable_extensions = ["attrs_inline", "fieldlist"]
myst_heading_anchors = 4

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100

html_theme = "furo"
html_title = f"Underway {release}"
html_copy_source = False
html_show_sphinx = False

# autodoc imports the package for Django, which reads the settings of a project.
settings.configure(DATABASES={"default": {"ENGINE": "django.db.backends.postgresql", "NAME": "shop"}})

# In a docstring, a name, at least two spaces and a text that may continue below itself.
ENTRY = re.compile(r"^(\w+(?:, \w+)*)  +(\S.*)$")


def tables_to_definitions(app: Sphinx, what: str, name: str, of: Any, options: Any, lines: list[str]) -> None:
    """Docstrings list settings as two aligned columns; make each of them a definition list of reStructuredText."""
    result: list[str] = []
    in_list = False
    for line in lines:
        if entry := ENTRY.match(line):
            result += ["", f"``{entry[1]}``", f"    {entry[2]}"]
            in_list = True
        elif in_list and line.startswith("  "):
            result.append(f"    {line.strip()}")
        else:
            if in_list and line:
                result.append("")
            in_list = False
            result.append(line)
    lines[:] = result


def setup(app: Sphinx) -> None:
    """Register the above, and PostgreSQL's dialect for blocks of SQL."""
    app.add_lexer("sql", PostgresLexer)
    app.connect("autodoc-process-docstring", tables_to_definitions)
