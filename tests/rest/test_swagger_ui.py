"""The documentation in a real browser: it shows everything, asks nobody else, and tries requests out."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from app.settings import PREFIX, ROOT
from tests.support.contract_check import document
from tests.support.ports import find_free_port
from tests.support.server import LiveServer

pytestmark = [pytest.mark.browser, pytest.mark.parametrize("database_kind", ["sqlite"])]
SECONDS_TO_WAIT = 20


class Docs:
    """The page, as a person uses it."""

    def __init__(self, driver: Any, server: LiveServer) -> None:
        from selenium.webdriver.support.ui import WebDriverWait

        self.driver = driver
        self.server = server
        self._wait = WebDriverWait(driver, SECONDS_TO_WAIT)
        driver.get("about:blank")
        driver.get_log("browser")
        driver.get(f"{server.url}/")
        self._wait.until(lambda _: len(self.all(".opblock")) == len(operation_ids()))

    def all(self, selector: str, within: Any = None) -> list[Any]:
        return list((within or self.driver).find_elements("css selector", selector))

    def one(self, selector: str, within: Any = None) -> Any:
        """Wait until it is there and can be seen, and return it."""

        def find(_: Any) -> Any:
            return next((found for found in self.all(selector, within) if found.is_displayed()), None)

        return self._wait.until(find, f"nothing to be seen at {selector}")

    def click(self, selector: str, within: Any = None) -> None:
        element = self.one(selector, within)
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        self.driver.execute_script("arguments[0].click()", element)

    def put(self, area: Any, text: str) -> None:
        """Replace the text of an area at once, in the way that React notices."""
        self.driver.execute_script(
            "const set = Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, 'value').set;"
            "set.call(arguments[0], arguments[1]);"
            "arguments[0].dispatchEvent(new Event('input', {bubbles: true}));",
            area,
            text,
        )

    def write(self, element: Any, text: str) -> None:
        """Type a text over what is there; the form takes it over when the person leaves the field."""
        from selenium.webdriver.common.keys import Keys

        element.send_keys(Keys.CONTROL, "a")
        element.send_keys(text, Keys.TAB)

    def authorise(self, key: str) -> None:
        self.click(".btn.authorize")
        dialog = self.one(".auth-container")
        self.one("input", dialog).send_keys(key)
        self.click("button.authorize", dialog)
        self.one(".auth-container .btn.modal-btn.auth:not(.authorize)")
        self.click(".btn-done")

    def try_out(self, operation_id: str, body: Any = None, **parameters: str) -> tuple[str, Any]:
        """Fill the form of an operation, send it, and return the status and the answer that the page shows."""
        block = self.one(f"[id$='-{operation_id}']")
        if not self.all(".opblock-body", block):
            self.click(".opblock-summary-control", block)
        self.one(".opblock-body", block)
        for name, value in parameters.items():
            self.write(self.one(f"tr[data-param-name='{name}'] input", block), value)
        if body is not None:
            self.put(self.one("textarea.body-param__text", block), json.dumps(body))
        self.click("button.execute", block)
        live = ".live-responses-table .response"
        status = self.one(f"{live} .response-col_status", block).text.split()[0]
        answer = self.one(f"{live} .response-col_description .highlight-code", block)
        return status, json.loads(answer.get_property("textContent").removeprefix("Download"))


def operation_ids() -> list[str]:
    return [operation["operationId"] for path in document()["paths"].values() for operation in path.values()]


@pytest.fixture
def docs(browser: Any, live_server: LiveServer) -> Iterator[Docs]:
    page = Docs(browser, live_server)
    yield page
    folder = os.environ.get("TASKMANAGER_TEST_SCREENSHOTS")
    if folder:
        browser.save_screenshot(f"{folder}/swagger_ui.png")


def test_the_page_shows_all_operations_and_asks_no_other_server(docs: Docs) -> None:
    shown = {block.get_attribute("id").rsplit("-", 1)[1] for block in docs.all(".opblock")}
    assert shown == set(operation_ids())
    assert docs.one(".info .title").text.startswith("TaskManager")
    tags = [tag.get_attribute("data-tag") for tag in docs.all(".opblock-tag")]
    assert tags == [tag["name"] for tag in document()["tags"]]
    loaded = docs.driver.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert any(url.endswith("/openapi.json") for url in loaded)
    home = urlsplit(docs.server.url).netloc
    assert {urlsplit(url).netloc for url in loaded if not url.startswith("data:")} == {home}
    # On a public address Swagger UI would ask a validator of its makers about the document.
    assert docs.driver.execute_script("return ui.getConfigs().validatorUrl") is None
    assert docs.driver.get_log("browser") == []


def test_a_person_registers_creates_claims_and_completes_with_a_key(docs: Docs) -> None:
    docs.authorise(docs.server.admin_key)
    # The document's own examples are in the forms; a person sends them as they are.
    status, answer = docs.try_out("register_task_type")
    assert (status, answer["message"]) == ("201", "Task type registered successfully"), answer
    status, answer = docs.try_out("create_task")
    assert (status, answer["message"]) == ("201", "Task created successfully"), answer
    claim = {"worker_id": "browser", "types": [answer["data"]["type"]]}
    status, answer = docs.try_out("claim_task", claim)
    assert (status, answer["message"]) == ("200", "Task claimed successfully"), answer
    report = {
        "worker_id": "browser",
        "lease_token": answer["data"]["lease_token"],
        "success": True,
        "result": {"seen": "😀"},
    }
    status, answer = docs.try_out("complete_task", report, task_id=str(answer["data"]["id"]))
    assert (status, answer["message"]) == ("200", "Task completed successfully"), answer
    assert answer["data"]["result"] == {"seen": "😀"}
    assert docs.driver.get_log("browser") == []


def test_without_a_key_the_page_shows_why(docs: Docs) -> None:
    docs.driver.execute_script("localStorage.clear()")
    docs.driver.refresh()
    status, answer = docs.try_out("claim_task")
    assert (status, answer["code"]) == ("401", "key_required")


def test_below_a_prefix_the_page_asks_below_the_prefix_too(browser: Any, prepared_url: str, tmp_path: Path) -> None:
    port = find_free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    command = ["-m", "waitress", "--listen", f"127.0.0.1:{port}", "--url-prefix", "/some/where", "wsgi:application"]
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        env={**environment, f"{PREFIX}DATABASE_URL": prepared_url},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        end = time.monotonic() + SECONDS_TO_WAIT
        while time.monotonic() < end:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.1)
        server = LiveServer(f"http://127.0.0.1:{port}/some/where", "", process, tmp_path / "log")
        status, answer = Docs(browser, server).try_out("get_health")
        assert (status, answer["data"]["status"]) == ("200", "healthy")
    finally:
        process.terminate()
        process.wait(SECONDS_TO_WAIT)
