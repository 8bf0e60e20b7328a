"""The table of reasons in docs/explain.md is that of the code."""

from app.queue.explanation import REASONS
from app.settings import ROOT
from tests.docs.markdown import table_rows


def test_the_table_of_reasons_is_that_of_the_code() -> None:
    rows = table_rows(ROOT / "docs" / "explain.md", "| Reason | Means | What would change it |")
    assert {row[0].strip("`"): row[1] for row in rows} == REASONS
    assert all(len(row) == 3 and row[2] for row in rows)
