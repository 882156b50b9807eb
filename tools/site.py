"""Build the documentation site into build/site, and check it.

    python tools/site.py              build it; a warning is an error
    python tools/site.py --check      only check the HTML in build/site

The pages are docs/ and a few files from elsewhere in the repository (ELSEWHERE). They are copied to build/site-source
first, and their links are changed to where the pages are in the site. A link to another file, such as a Dockerfile,
becomes a link to a copy of that file.

The check reads the built HTML. Every link inside the site leads to a page and an anchor that exist, nothing is loaded
from another address (no script, style sheet, font or picture), and the reference has every public name of the package.
"""

from __future__ import annotations

import argparse
import importlib
import os
import re
import shutil
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sphinx.cmd.build import main as build_site
from sphinx.util.inventory import InventoryFile

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
SOURCE = ROOT / "build" / "site-source"
SITE = ROOT / "build" / "site"

# Pages that are not in docs, and their names in the site.
ELSEWHERE = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "sql/functions/README.md": "functions.md",
    **{str(page.relative_to(ROOT)): f"examples/{page.parent.name}.md" for page in ROOT.glob("examples/*/README.md")},
}
# A link to the repository's front page leads to that of the site.
FRONT = ROOT / "README.md"

# The modules whose names are for users.
PUBLIC_MODULES = (
    "underway_pg",
    "underway_pg.alembic",
    "underway_pg.django",
    "underway_pg.embedded",
    "underway_pg.fastapi",
    "underway_pg.flask",
    "underway_pg.opentelemetry",
    "underway_pg.schema",
    "underway_pg.sentry",
    "underway_pg.testing",
    "underway_pg.testing.plugin",
)

LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?!https?:|#)([^)#\s]+)(#[^)\s]*)?\)")
LOADED = {"script": "src", "img": "src", "source": "src", "iframe": "src", "object": "data", "embed": "src"}
# What a <link> may name without anything being loaded from there.
NOT_LOADED = {"canonical", "next", "prev", "index", "search", "author", "copyright", "top"}
STYLED = re.compile(r"url\(\s*['\"]?(https?:|//)|@import\s+['\"](https?:|//)")


def place_in_site(file: Path) -> Path | None:
    """Where a file of the repository is in the site, relative to its root; None for a directory."""
    if file == FRONT:
        return Path("index.md")
    if file.is_dir():
        return None
    if (name := ELSEWHERE.get(str(file.relative_to(ROOT)))) is not None:
        return Path(name)
    return file.relative_to(DOCS) if file.is_relative_to(DOCS) else "files" / file.relative_to(ROOT)


def with_links_of_site(text: str, file: Path) -> tuple[str, set[Path]]:
    """The text of a page with its links as they are in the site, and the files that it links to."""
    here = place_in_site(file)
    assert here is not None
    linked = set()

    def link(match: re.Match[str]) -> str:
        text, target, anchor = match.groups()
        path = Path(os.path.normpath(file.parent / target))
        place = place_in_site(path)
        if place is None:
            name = f"{path.relative_to(ROOT)}/"
            return f"`{name}`" if text.strip("`") in name else f"{text} (`{name}` in the repository)"
        linked.add(path)
        return f"[{text}]({os.path.relpath(place, here.parent)}{anchor or ''})"

    return LINK.sub(link, text), linked


def stage() -> None:
    """Copy the pages, with the links of the site."""
    shutil.rmtree(SOURCE, ignore_errors=True)
    shutil.copytree(DOCS, SOURCE)
    pages = [*DOCS.glob("**/*.md"), *(ROOT / name for name in ELSEWHERE)]
    linked: set[Path] = set()
    for page in pages:
        text, files = with_links_of_site(page.read_text(), page)
        _place(page).write_text(text)
        linked |= files
    for file in linked - {*pages, FRONT}:
        shutil.copy(file, _place(file))


def _place(file: Path) -> Path:
    place = SOURCE / (place_in_site(file) or "")
    place.parent.mkdir(exist_ok=True, parents=True)
    return place


class Page(HTMLParser):
    """What a page of HTML links to, loads, and can be linked to."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag == "link" and values.get("rel") not in NOT_LOADED:
            self.loaded.append(values.get("href", ""))
        if tag in LOADED and LOADED[tag] in values:
            self.loaded.append(values[LOADED[tag]])


def problems_of(site: Path) -> Iterator[str]:
    """What is wrong with a built site, a sentence each."""
    pages = {path: Page(path.read_text()) for path in site.glob("**/*.html")}
    for path, page in pages.items():
        name = path.relative_to(site)
        for address in page.loaded:
            parts = urlsplit(address)
            if parts.netloc:
                yield f"{name} loads {address}"
            elif parts.path and not parts.scheme and not (path.parent / unquote(parts.path)).exists():
                yield f"{name} loads {address}, which does not exist"
        for address in page.links:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            target = Path(os.path.normpath(path.parent / unquote(parts.path))) if parts.path else path
            if not target.exists():
                yield f"{name} links to {address}, which does not exist"
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
                yield f"{name} links to {address}, which has no such anchor"
    for path in [*site.glob("**/*.css"), *site.glob("**/*.svg"), *pages]:
        if match := STYLED.search(path.read_text()):
            yield f"{path.relative_to(site)} loads by a style: {match[0]}"


def missing_names(site: Path) -> Iterator[str]:
    """The public names of the package that the reference does not have, a sentence each."""
    inventory = InventoryFile.loads((site / "objects.inv").read_bytes(), uri="")
    known = {name for kind in inventory.data if kind.startswith("py:") for name in inventory.data[kind]}
    for module in PUBLIC_MODULES:
        for name in importlib.import_module(module).__all__:
            if name[0] != "_" and f"{module}.{name}" not in known:
                yield f"the reference has no {module}.{name}"


def build() -> None:
    stage()
    shutil.rmtree(SITE, ignore_errors=True)
    arguments = ["-b", "html", "-W", "--keep-going", "-q", "-d", str(ROOT / "build" / "site-doctrees")]
    if code := build_site([*arguments, str(SOURCE), str(SITE)]):
        sys.exit(code)


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the documentation site, and check it.")
    parser.add_argument("--check", action="store_true", help="only check what was built")
    if not parser.parse_args().check:
        build()
    problems = sorted({*problems_of(SITE), *missing_names(SITE)})
    if problems:
        sys.exit("\n".join(problems))
    print(f"{len(list(SITE.glob('**/*.html')))} pages in {SITE.relative_to(ROOT)}/index.html: all links work")


if __name__ == "__main__":
    main()
