"""The table of planted faults on the page of the tests is that of the code."""

import re

from app.settings import ROOT
from tests.docs.markdown import table_rows
from tests.mutations.table import HEADER, MUTATIONS


def test_the_planted_faults_on_the_page_are_those_of_the_code() -> None:
    rows = table_rows(ROOT / "docs" / "testing.md", HEADER)
    planted = [[mutation.name, f"`{mutation.file}`"] for mutation in MUTATIONS]
    assert [row[:2] for row in rows] == planted, "python -m tests.mutations prints the table as it must be"


def test_each_planted_fault_is_caught_by_a_test_that_is_there() -> None:
    rows = table_rows(ROOT / "docs" / "testing.md", HEADER)
    for mutation, (name, _, caught_by) in zip(MUTATIONS, rows, strict=True):
        file, test = re.fullmatch(r"`(.+?)::(\w+)(?:\[.*\])?`", caught_by).groups()
        assert file in mutation.tests, name
        assert re.search(rf"^def {test}\(", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE), name
