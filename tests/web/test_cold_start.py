"""A cold start imports what the first request needs, and no more."""

import subprocess
import sys

from app.settings import ROOT


def _imported(program: str) -> set[str]:
    program += "\nimport sys; print(' '.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={"TASKMANAGER_DATABASE_URL": "sqlite:////nowhere/none.db"},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


def test_the_application_is_there_before_any_view_and_what_time_must_do():
    imported = _imported("import wsgi")
    assert "app.rest.routes" in imported
    assert not imported & {
        "app.rest.claims",
        "app.rest.contract",
        "app.housekeeping.jobs",
        "app.queue.claim",
        "apispec",
    }


def test_a_request_imports_the_view_that_it_asks_for_and_none_beside():
    imported = _imported("import wsgi\nwsgi.application.test_client().post('/api/tasks/claim')")
    assert "app.rest.claims" in imported
    assert not imported & {"app.rest.creation", "app.rest.schedules", "app.rest.workflows", "app.queue.create_many"}
