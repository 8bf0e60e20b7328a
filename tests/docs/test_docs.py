"""The pages are true: their links lead somewhere, their tables are complete, their examples work."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest
from flask import Flask
from werkzeug.exceptions import NotFound

from app.errors import InvalidSchema
from app.policies import Policies
from app.queue.json_schema import compile_schema
from app.queue.retry_policy import retry_delay_seconds
from app.settings import ROOT, Settings
from tests.docs.errors_table import known_errors
from tests.docs.examples import is_request, run_examples
from tests.docs.markdown import Block, anchors, blocks, links, pages, table_rows
from tests.docs.policies_table import policies_table
from tests.support.client import Client
from tests.support.server import LiveServer

DOCS = ROOT / "docs"
# A path in backticks, from the top of the project: `docs/tasks.md`, `tests/support/`.
_PATH = re.compile(r"`((?:app|bench|deploy|docs|examples|migrations|tests)/[\w./-]*)`")
_TOP_FILE = re.compile(r"`([\w.]+\.(?:py|md|toml|json))`")
# Files that an operator makes, or that stand for one of the reader's own.
_NOT_OURS = {"handlers.py"}


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", pages(), ids=_name)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for link in links(page):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / unquote(path)).resolve() if path else page
        assert target.exists(), f"{_name(page)}: {link}"
        assert target.is_relative_to(ROOT), f"{_name(page)}: {link} leaves the project"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), f"{_name(page)}: {link}"


@pytest.mark.parametrize("page", [page for page in pages() if page.name != "CHANGELOG.md"], ids=_name)
def test_every_file_that_is_named_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for match in _PATH.finditer(text):
        if match[1].startswith("bench/results"):
            continue
        assert (ROOT / match[1]).exists() or (page.parent / match[1]).exists(), f"{_name(page)}: {match[1]}"
    for match in _TOP_FILE.finditer(text):
        places = (ROOT, page.parent, ROOT / "tests" / "docs")
        assert match[1] in _NOT_OURS or any((place / match[1]).exists() for place in places), (
            f"{_name(page)}: {match[1]}"
        )


def test_every_page_of_the_documentation_is_linked_from_the_readme_or_its_neighbours() -> None:
    linked = {
        (page.parent / link.partition("#")[0]).resolve() for page in pages() for link in links(page) if ":" not in link
    }
    for page in DOCS.rglob("*.md"):
        assert page in linked, _name(page)


def test_the_table_of_errors_is_complete() -> None:
    rows = table_rows(DOCS / "errors.md", "| Code | Status | Title | Meaning | What to do |")
    assert {row[0].strip("`"): row[1:4] for row in rows} == known_errors(), "python -m tests.docs.errors_table"
    assert all(len(row) == 5 and row[4] for row in rows)
    assert len({row[0] for row in rows}) == len(rows)


def test_the_example_of_an_error_is_what_the_server_answers(client: Client) -> None:
    (block,) = blocks(DOCS / "errors.md")
    answer = client.get("/api/tasks/9999999999").get_json()
    ours = {"request_id", "timestamp"}
    shown = json.loads(block.text)
    assert list(shown) == list(answer)
    assert {name: value for name, value in shown.items() if name not in ours} == {
        name: value for name, value in answer.items() if name not in ours
    }


def test_the_codes_that_a_worker_is_told_of_exist() -> None:
    codes = set(re.findall(r"^\| [^|]+ \| (`[^|]+`) \|", (DOCS / "workers.md").read_text("utf-8"), re.MULTILINE))
    told = {code for cell in codes for code in re.findall(r"`(\w+)`", cell)} - {"start"}
    known = set(known_errors())
    assert told and {code for code in told if "_" in code and code not in ("task_type_id", "type_pattern")} <= known


def test_the_table_of_policies_is_that_of_the_code() -> None:
    text = (DOCS / "task-types.md").read_text(encoding="utf-8")
    table = re.search(r"<!-- policies: .*?-->\n(.*?)\n<!-- end of policies -->", text, re.DOTALL)
    assert table is not None
    assert table[1] == policies_table(), "python -m tests.docs.policies_table prints the table as it must be"


def test_every_setting_that_is_named_exists() -> None:
    known = {f"TASKMANAGER_{name.upper()}" for name in Settings.__dataclass_fields__}
    for page in pages():
        for name in set(re.findall(r"\bTASKMANAGER_[A-Z_]+\b", page.read_text(encoding="utf-8"))):
            if not name.startswith(("TASKMANAGER_TEST_", "TASKMANAGER_DEFAULT_")):
                assert name in known, f"{_name(page)}: {name}"


@pytest.mark.parametrize("page", [page for page in pages() if page.parent == DOCS], ids=_name)
def test_every_guarantee_names_a_test_that_exists(page: Path) -> None:
    for line in page.read_text(encoding="utf-8").splitlines():
        tests = re.findall(r"`(test_\w+)`", line)
        files = [page.parent / link for link in re.findall(r"\]\((\.\./tests/[\w/.]+\.py)\)", line)]
        for test in tests:
            assert files, line
            assert any(f"def {test}(" in file.read_text(encoding="utf-8") for file in files), f"{_name(page)}: {test}"


def test_every_line_of_the_guarantees_names_a_test() -> None:
    lines = [line for line in (DOCS / "guarantees.md").read_text("utf-8").splitlines() if line.startswith("| **")]
    assert len(lines) > 10
    assert all(re.search(r"`test_\w+`", line) for line in lines)


def _pages_with_examples() -> list[Path]:
    return [page for page in sorted(DOCS.rglob("*.md")) if any(block.language == "bash" for block in blocks(page))]


@pytest.mark.parametrize("page", _pages_with_examples(), ids=_name)
def test_the_examples_work_and_answer_what_is_shown(page: Path, live_server: LiveServer) -> None:
    assert run_examples(page, live_server.url, live_server.admin_key) > 0


def _requests() -> Iterator[tuple[Path, Block]]:
    for page in sorted(DOCS.rglob("*.md")):
        for block in blocks(page):
            if is_request(block):
                yield page, block


@pytest.mark.parametrize(("page", "block"), list(_requests()), ids=lambda value: getattr(value, "info", ""))
@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_every_request_body_is_one_that_the_server_understands(page: Path, block: Block, app: Flask) -> None:
    _, method, path = block.info.split(" ")
    adapter = app.url_map.bind("localhost")
    try:
        endpoint, _ = adapter.match(re.sub(r"\{\w+\}", "1", path), method=method)
    except NotFound:
        pytest.fail(f"{_name(page)}: {block.info} is no endpoint")
    body = app.view_functions[endpoint].contract.body  # type: ignore[attr-defined]
    assert body.load(json.loads(block.text)) is not None


def test_every_block_of_json_is_json() -> None:
    for page in pages():
        for block in blocks(page):
            if block.language == "json":
                json.loads(block.text)


def test_every_decision_says_context_choice_and_price() -> None:
    decisions = sorted((DOCS / "decisions").glob("0*.md"))
    assert [int(decision.name[:4]) for decision in decisions] == list(range(1, len(decisions) + 1))
    for decision in decisions:
        text = decision.read_text(encoding="utf-8")
        assert text.startswith(f"# {decision.name[:4]}: ")
        for part in ("**Context.**", "**Choice.**", "**Price.**"):
            assert part in text, f"{decision.name}: {part}"


_REFUSED = {
    "look-around": {"type": "string", "pattern": "(?=a)b"},
    "back-references": {"type": "string", "pattern": r"(a)\1"},
    "a $ref that leaves the document": {"type": "object", "$ref": "https://example.org/other.json"},
    "$id below the top": {"type": "object", "properties": {"a": {"$id": "https://example.org/a", "type": "string"}}},
    "a $ref that leads nowhere": {"type": "object", "properties": {"a": {"$ref": "#/$defs/missing"}}},
    "a $ref in a circle": {"type": "object", "$ref": "#"},
    "thirty definitions that each refer twice to the next": {
        "type": "object",
        "$ref": "#/$defs/0",
        "$defs": {
            **{str(n): {"allOf": [{"$ref": f"#/$defs/{n + 1}"}, {"$ref": f"#/$defs/{n + 1}"}]} for n in range(30)},
            "30": {},
        },
    },
    "more than 262,144 characters": {"type": "object", "description": "x" * 262_145},
}


@pytest.mark.parametrize("what", _REFUSED)
def test_what_the_page_on_task_types_calls_refused_is_refused(what: str) -> None:
    with pytest.raises(InvalidSchema):
        compile_schema(_REFUSED[what])


@pytest.mark.parametrize(
    ("draft", "checks"),
    [
        ("http://json-schema.org/draft-04/schema#", True),
        ("http://json-schema.org/draft-06/schema#", True),
        ("http://json-schema.org/draft-07/schema#", True),
        ("https://json-schema.org/draft/2019-09/schema", False),
        ("https://json-schema.org/draft/2020-12/schema", False),
    ],
)
def test_formats_are_checked_in_the_drafts_that_the_page_names(draft: str, checks: bool) -> None:
    schema = {"$schema": draft, "type": "string", "format": "ipv4"}
    assert bool(compile_schema(schema).faults("nonsense", '"nonsense"', "params")) is checks


def test_the_pauses_before_a_retry_are_those_of_the_page() -> None:
    rows = table_rows(DOCS / "tasks.md", "| `retry_backoff` | after the first failure | second | third |")
    for name, *pauses in rows:
        policies = Policies(retry_backoff=name.strip("`"), retry_jitter=0)
        assert [f"{retry_delay_seconds(policies, failed):g} s" for failed in (1, 2, 3)] == pauses
