"""The generated pages are what the database says."""

import psycopg
import pytest

from tools import reference


@pytest.mark.parametrize("page", ["sql.md", "errors.md", "cli.md"])
def test_the_reference_is_up_to_date(database: str, page: str) -> None:
    with psycopg.connect(database) as connection:
        assert reference.render(connection)[page] == (reference.PAGES / page).read_text(), "run `make reference`"
