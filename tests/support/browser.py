"""A headless Chromium for the tests that look at pages."""

import shutil
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from selenium.webdriver import Chrome


def find_browser() -> tuple[str, str] | None:
    """Return the paths of Chromium (or Chrome) and its driver, or None unless both are here."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    driver = shutil.which("chromedriver")
    return (browser, driver) if browser and driver else None


def open_browser() -> "Chrome":
    """Start Chromium; the caller quits it."""
    from selenium.webdriver import Chrome, ChromeOptions, ChromeService

    found = find_browser()
    assert found, "there is no Chromium with chromedriver"
    options = ChromeOptions()
    options.binary_location = found[0]
    # The sandbox does not work for root or inside a container, and /dev/shm is often too small there.
    for option in (
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--window-size=1280,2000",
    ):
        options.add_argument(option)
    return Chrome(options=options, service=ChromeService(executable_path=found[1]))


if __name__ == "__main__":
    paths = find_browser()
    print(
        f"Browser for the tests: {' and '.join(paths)}" if paths else "There is no Chromium with chromedriver.",
        flush=True,
    )
    sys.exit(0 if paths else 1)
