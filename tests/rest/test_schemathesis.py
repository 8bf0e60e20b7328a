"""schemathesis tries the API by its own document with all checks.

In a fixed order, so that it fails for a reason; with --hypothesis-profile=nightly at random and for long.
"""

import os
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, Phase, settings
from schemathesis import Case
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from app.storage.database import Database, Transaction
from app.storage.models import api_keys, metadata
from tests.support.contract_check import document

IS_NIGHTLY = settings.get_current_profile_name() == "nightly"
EXAMPLES = int(os.environ.get("TASKMANAGER_TEST_EXAMPLES", settings.default.max_examples if IS_NIGHTLY else 20))
CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
# Refusals of requests that fit the document, because of what is stored, or because JSON Schema cannot say it:
# old clients get 400 for the state of a task (api.md), parameters must fit their type's schema, a schema must be
# a valid one, a schedule must come, and a cursor must have come from this server.
NOT_OF_THE_FORM = {
    *(
        "task_not_claimed",
        "task_cancelled",
        "task_type_inactive",
        "invalid_parameters",
        "invalid_result",
        "invalid_schema",
        "instant_passed",
        "invalid_schedule",
    ),
    "invalid_cursor",
    *("dependency_not_found", "batch_refused", "invalid_workflow", "cyclic_workflow"),
}
# What is wrong with one item of these hurts no other: the answer is 200 and says so for each item.
WITH_ITEMS = {"create_tasks", "complete_tasks", "exchange_tasks"}
# A copy: schemathesis changes what it is given.
configuration = SchemathesisConfig.from_path(CONFIGURATION)
if IS_NIGHTLY:
    # .ci/nightly prints the seed.
    configuration.projects.default.generation.deterministic = False
    configuration.update(seed=int(os.environ.get("TASKMANAGER_TEST_SEED", "0")), max_failures=None)
api = schemathesis.openapi.from_dict(deepcopy(document()), config=configuration)
bounded = settings(
    max_examples=EXAMPLES,
    derandomize=not IS_NIGHTLY,
    deadline=None,
    database=None,
    # A failure is shown as it was found: shrinking takes minutes and the request is short anyway.
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture
def database_kind() -> str:
    """Both databases answer alike, as the other tests here show; one is enough for a thousand requests."""
    return os.environ.get("TASKMANAGER_TEST_SCHEMATHESIS_ON", "sqlite")


def valid_data_is_accepted(context: Any, response: Any, case: Case) -> bool | None:
    """schemathesis' own `positive_data_acceptance`, but for what the document cannot say."""
    if response.status_code == 400:
        body = response.json()
        if body["code"] in NOT_OF_THE_FORM:
            return None
        # JSON Schema takes 1.0 for an integer; the API asks for one as JSON writes it.
        if body["details"] and all(detail["problem"] == "Not a valid integer." for detail in body["details"]):
            return None
    return positive_data_acceptance(context, response, case)


def invalid_data_is_refused(context: Any, response: Any, case: Case) -> bool | None:
    """schemathesis' own `negative_data_rejection`, but for items of their own and bodies over the limit."""
    if response.status_code == 413:
        return None
    # A list without items, which is wrong, leaves no trace in a query.
    if any(value in ([], {}) for value in (case.query or {}).values()):
        return None
    if response.status_code == 200 and case.operation.definition.raw["operationId"] in WITH_ITEMS:
        return None
    return negative_data_rejection(context, response, case)


def _empty(tx: Transaction) -> None:
    for table in reversed(metadata.sorted_tables):
        tx.execute(table.delete() if table is not api_keys else table.delete().where(api_keys.c.name != "admin"))


def _begin_ids_anew(database: Database) -> None:
    if database.engine.dialect.name == "sqlite":
        statements = ["DELETE FROM sqlite_sequence WHERE name <> 'api_keys'"]
    else:
        counted = [table.name for table in metadata.sorted_tables if table.autoincrement_column is not None]
        statements = [f"ALTER TABLE {name} AUTO_INCREMENT = 1" for name in counted]
    with database.engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


CHECKS: dict[str, Any] = {
    "excluded_checks": [positive_data_acceptance, negative_data_rejection],
    "additional_checks": [valid_data_is_accepted, invalid_data_is_refused],
}


@api.parametrize()
@bounded
def test_every_operation_keeps_its_contract(case: Case, app: Flask, admin_key: str) -> None:
    # Checks that send a request of their own look for the application there.
    case.operation.schema.app = app
    case.call_and_validate(app=app, headers={"X-API-Key": admin_key}, **CHECKS)


def test_operations_that_follow_one_another_keep_their_contracts(
    app: Flask, database: Database, admin_key: str
) -> None:
    api.app = app

    class Sequence(api.as_state_machine()):  # type: ignore[misc]
        def setup(self) -> None:
            # Hypothesis repeats sequences and expects the same answers.
            database.write(_empty)
            _begin_ids_anew(database)
            database.cache.clear()

        def get_call_kwargs(self, case: Case) -> dict[str, Any]:
            return {"headers": {"X-API-Key": admin_key}}

        def validate_response(self, response: Any, case: Case, **_: Any) -> None:
            sent = self.get_call_kwargs(case)
            case.validate_response(response, **sent, transport_kwargs=sent, **CHECKS)

    Sequence.run(settings=settings(bounded, max_examples=EXAMPLES, stateful_step_count=8))
