"""Debian's Chromium without a window, for tests and benchmarks of artifacts/report.html."""

import base64
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
QUIET = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def missing() -> str:
    """Return what is not installed and how to install it; "" where everything is there."""
    absent = [path.as_posix() for path in (CHROMIUM, DRIVER) if not path.is_file()]
    found = f"{' and '.join(absent)} not found; on Debian: apt-get install chromium chromium-driver"
    return found if absent else ""


@contextmanager
def browser(profile: Path) -> Iterator["Browser"]:
    """Start Chromium with an empty profile; it ends with the block."""
    os.environ["SE_OFFLINE"] = "true"  # selenium would look for another driver
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for argument in (*QUIET, f"--user-data-dir={profile}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(executable_path=str(DRIVER)))
    try:
        yield Browser(driver)
    finally:
        driver.quit()


class Browser:
    """What the tests do with a page."""

    def __init__(self, driver):
        self.driver = driver

    def open(self, page: Path) -> None:
        """Load a file anew; going to where one is already may return before that has happened."""
        from selenium.webdriver.support.wait import WebDriverWait

        self.driver.get("about:blank")
        self.driver.get(page.resolve().as_uri())
        loaded = "return location.protocol === 'file:' && document.readyState === 'complete'"
        WebDriverWait(self.driver, 20, 0.02).until(lambda driver: driver.execute_script(loaded))

    def js(self, script: str, *arguments):
        """Return what a script returns."""
        return self.driver.execute_script(script, *arguments)

    def media(self, kind: str = "", scheme: str = "light") -> None:
        """Let the page take the screen for paper ("print"), or for dark."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": kind, "features": features})

    def width(self, px: int) -> None:
        """Make the window that wide."""
        size = {"width": px, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def scripts(self, allowed: bool) -> None:
        """Let pages run scripts or not."""
        self.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not allowed})

    def pdf(self) -> bytes:
        """Return the page as it would be printed."""
        done = self.driver.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})
        return base64.b64decode(done["data"])

    def press(self, key: str) -> None:
        """Press a key, such as "Tab" or "Enter"."""
        codes = {"Tab": 9, "Enter": 13}
        about = {"key": key, "code": key, "windowsVirtualKeyCode": codes[key]}
        text = {"text": "\r"} if key == "Enter" else {}
        self.driver.execute_cdp_cmd("Input.dispatchKeyEvent", {"type": "keyDown", **about, **text})
        self.driver.execute_cdp_cmd("Input.dispatchKeyEvent", {"type": "keyUp", **about})

    def complaints(self) -> list[str]:
        """Return what stands in the browser's console since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser")]
