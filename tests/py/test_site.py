"""The check of the documentation site finds what is wrong with a page."""

from pathlib import Path

import pytest

from tools import site

PAGE = '<html><head>{head}</head><body><h1 id="top">Title</h1>{body}</body></html>'


@pytest.mark.parametrize(
    ("head", "body", "problem"),
    [
        ("", '<a href="other.html#title">x</a> <a href="#top">x</a> <a href="https://example.com">x</a>', None),
        ('<link rel="canonical" href="https://example.com/page.html"><script src="own.js?v=1"></script>', "", None),
        ("", '<a href="gone.html">x</a>', "page.html links to gone.html, which does not exist"),
        ("", '<a href="other.html#gone">x</a>', "page.html links to other.html#gone, which has no such anchor"),
        ("", '<a href="#gone">x</a>', "page.html links to #gone, which has no such anchor"),
        ('<script src="https://cdn.example.com/x.js">', "", "page.html loads https://cdn.example.com/x.js"),
        ('<link rel="stylesheet" href="//example.com/x.css">', "", "page.html loads //example.com/x.css"),
        ('<link rel="preconnect" href="https://fonts.example.com">', "", "page.html loads https://fonts.example.com"),
        ("", '<img src="https://example.com/x.png">', "page.html loads https://example.com/x.png"),
        ("", '<img src="gone.png">', "page.html loads gone.png, which does not exist"),
        ("<style>@import 'https://example.com/x.css';</style>", "", "page.html loads by a style: @import 'https:"),
    ],
)
def test_the_check_names_what_is_wrong_with_a_page(tmp_path: Path, head: str, body: str, problem: str | None) -> None:
    (tmp_path / "page.html").write_text(PAGE.format(head=head, body=body))
    (tmp_path / "other.html").write_text(PAGE.format(head="", body='<h2 id="title">x</h2>'))
    (tmp_path / "own.js").touch()
    assert list(site.problems_of(tmp_path)) == ([problem] if problem else [])


def test_a_style_sheet_that_loads_a_font_from_elsewhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "style.css").write_text("@font-face { src: url('https://example.com/x.woff2') }")
    assert list(site.problems_of(tmp_path)) == ["style.css loads by a style: url('https:"]


def test_links_lead_to_the_places_that_pages_and_files_have_in_the_site() -> None:
    page = site.ROOT / "docs/guides/workers.md"
    text = (
        "[changes](../../CHANGELOG.md) [rooms](../../sql/functions/README.md#before-the-first-task)"
        " [limits](limits.md#fair-queues) [the demo](../../examples/demo.py) [examples](../../examples)"
        " [start](../../README.md) [here](#the-log) [there](https://example.com)"
    )
    changed, linked = site.with_links_of_site(text, page)
    assert changed == (
        "[changes](../changelog.md) [rooms](../functions.md#before-the-first-task)"
        " [limits](limits.md#fair-queues) [the demo](../files/examples/demo.py) `examples/`"
        " [start](../index.md) [here](#the-log) [there](https://example.com)"
    )
    names = {"CHANGELOG.md", "sql/functions/README.md", "docs/guides/limits.md", "examples/demo.py", "README.md"}
    assert linked == {site.ROOT / name for name in names}
