"""The list of mutations fits the code, and what plants them tells a caught one from a survivor."""

import sys

import pytest

from app.settings import ROOT
from tests.mutations import __main__ as command
from tests.mutations.mutation import Mutation
from tests.mutations.pure import PURE
from tests.mutations.runner import Broken, check_text
from tests.mutations.table import MUTATIONS

_HARMLESS = Mutation(
    "Nothing is wrong",
    "app/queue/retry_policy.py",
    '"""How long until the next attempt? Pure."""',
    '"""How long until the next attempt?"""',
    ("tests/unit/test_retry_policy.py",),
)


def test_every_text_stands_once_in_its_file():
    for mutation in MUTATIONS:
        check_text(mutation)
        assert mutation.new != mutation.old, mutation.name


def test_a_text_that_stands_there_no_longer_is_said():
    with pytest.raises(Broken, match="occurs 0 times in app/errors.py"):
        check_text(Mutation("Something", "app/errors.py", "no such text", "", ()))


def test_every_mutation_has_a_name_of_its_own_and_tests_that_are_there():
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS)
    for mutation in MUTATIONS:
        assert mutation.tests, mutation.name
        assert mutation.on in ("sqlite", "mariadb"), mutation.name
        for path in mutation.tests:
            assert (ROOT / path).is_file(), f"{mutation.name}: {path}"


def test_what_is_planted_is_caught_and_a_survivor_is_a_failure(monkeypatch, capsys):
    monkeypatch.setattr(command, "MUTATIONS", (*PURE, _HARMLESS))
    monkeypatch.setattr(sys, "argv", ["python -m tests.mutations"])
    before = {mutation.file: (ROOT / mutation.file).read_text() for mutation in PURE}
    assert command.main() == 1
    table, told = capsys.readouterr()
    assert "| The delay of a retry grows without end | `app/queue/retry_policy.py` | `tests/unit/test_retry_" in table
    assert table.count("SURVIVED") == 1
    assert "3 of 4 mutations were caught" in told
    assert "SURVIVED: Nothing is wrong" in told
    assert {file: (ROOT / file).read_text() for file in before} == before
