"""A headless Chromium, driven by its DevTools protocol over one websocket; knows pages, nothing of what is on them.

The protocol: https://chromedevtools.github.io/devtools-protocol/. The websocket client comes with dagster-webserver.
"""

import base64
import itertools
import json
import os
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE = 90.0  # seconds that a page may take to show what is waited for, on a machine that does much else
STILL = 0.25  # seconds between two looks at whether a page stands still
# Without the sandbox, since tests in containers run as root; it loads pages of this machine alone.
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking",
    "--disable-component-update", "--no-first-run", "--hide-scrollbars", "--lang=en-US", "--remote-debugging-port=0",
    "--remote-allow-origins=*", "--window-size=1440,1000",
)  # fmt: skip


class NothingThereError(AssertionError):
    """What was waited for did not come."""


@dataclass
class Page:
    """The one tab of a browser."""

    socket: ClientConnection
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def command(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command of the protocol and wait for its answer; events in between are not looked at."""
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self.socket.recv(timeout=PATIENCE))
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression in the page. Raises RuntimeError where it throws."""
        answer = self.command("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{script}: {answer['exceptionDetails']['text']}")
        return answer["result"].get("value")

    def open(self, url: str) -> None:
        """Go to an address."""
        self.command("Page.navigate", url=url)

    def wait_for(self, script: str, what: str) -> Any:
        """The expression's value once it is true. Raises NothingThereError with the page's text where it never is."""
        ends = time.monotonic() + PATIENCE
        while time.monotonic() < ends:
            with suppress(RuntimeError):  # the page may be between two documents
                if value := self.run(script):
                    return value
            time.sleep(0.2)
        raise NothingThereError(f"no {what}; the page says: {self.text()[:600]!r}")

    def wait_for_text(self, *texts: str) -> None:
        """Wait until the page shows all of these."""
        for text in texts:
            self.wait_for(f"document.body && document.body.innerText.includes({json.dumps(text)})", repr(text))

    def text(self) -> str:
        """What the page shows, as a reader would copy it."""
        return str(self.run("document.body ? document.body.innerText : ''"))

    def click(self, text: str, place: int = 0) -> None:
        """Click a link or button that says exactly this: the first that is seen, or the one after so many others."""
        found = f"""[...document.querySelectorAll('a, button, [role=tab], [role=button]')].filter(each =>
            each.offsetParent !== null && each.innerText.trim() === {json.dumps(text)})[{place}]"""
        self.wait_for(f"!!({found})", f"link or button {text!r}")
        self.run(f"({found}).click()")

    def settle(self) -> None:
        """Wait until nothing moves and nothing more comes: no dialog fades in, and the text stays as it is."""
        still, text = 0, ""
        for _ in range(int(PATIENCE / STILL)):
            time.sleep(STILL)
            moving = self.run(
                "document.getAnimations().some(each => each.effect.getComputedTiming().iterations !== Infinity "
                "&& each.playState === 'running')"
            )
            now = self.text()
            still = 0 if moving or now != text or "Loading" in now else still + 1
            text = now
            if still == 3:
                return

    def picture(self, path: Path) -> None:
        """A screenshot of what is in the window, once that stands still."""
        self.settle()
        shot = self.command("Page.captureScreenshot", format="png")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(shot["data"]))


def find_chromium() -> str | None:
    """The path of an installed Chromium or Chrome; None where there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@contextmanager
def browsing(program: str, profile: Path) -> Iterator[Page]:
    """A browser with one empty page, for the length of the block.

    Args:
        program: from `find_chromium`.
        profile: an empty folder, for what it keeps.
    """
    # With a POSIX locale Dagster's page stays blank: "RangeError: Invalid language tag: en-US@posix".
    environment = os.environ | {"LANG": "en_US.UTF-8", "LC_ALL": "en_US.UTF-8"}
    with started([program, *FLAGS, f"--user-data-dir={profile}", "about:blank"], environment, profile / "log"):
        port = _port(profile / "DevToolsActivePort")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json") as answer:
            tabs = json.load(answer)
        address = next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page")
        with connect(address, max_size=None, open_timeout=PATIENCE) as socket:
            page = Page(socket)
            page.command("Page.enable")
            yield page


@contextmanager
def started(command: list[str], environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A program with all that it starts, in a process group of its own; all of it is ended with the block."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as told:
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=told, stderr=told, start_new_session=True
        )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        with suppress(ProcessLookupError):  # a shell may have had its children ignore the gentler signal
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


def _port(file: Path) -> int:
    """The port that the browser chose, which it writes down once it listens."""
    ends = time.monotonic() + PATIENCE
    while time.monotonic() < ends:
        if file.exists() and (lines := file.read_text().split()):
            return int(lines[0])
        time.sleep(0.05)
    raise NothingThereError("the browser opened no port")
