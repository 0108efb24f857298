"""Debian's chromium, driven over its pipe: pages as a reader sees them, without any package.

Chromium speaks the DevTools protocol over file descriptors 3 and 4: JSON that ends in a zero byte.
"""

import base64
import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--remote-debugging-pipe",
]  # fmt: skip
TIMEOUT = 60.0  # seconds, of one answer

KEYS = {"Tab": (9, "\t"), "Enter": (13, "\r"), " ": (32, " ")}


class Browser:
    """A tab of chromium.

    Attributes
    ----------
    said : list of str
        Messages of the console and exceptions.
    asked : list of str
        Addresses that were asked for.
    """

    def __init__(self, reading: int, writing: int, downloads: Path):
        self._reading, self._writing, self._rest, self._last = reading, writing, b"", 0
        self.said: list[str] = []
        self.asked: list[str] = []
        self._session = ""
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        attached = self._call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")
        self._call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(downloads))

    def open(self, file: Path, width: int, *, script: bool = True, view: str = "") -> None:
        """Open a file in a window of this width, with or without JavaScript."""
        self.said.clear()
        self.asked.clear()
        self._call("Emulation.setScriptExecutionDisabled", value=not script)
        self._call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=900, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip
        self._call("Page.navigate", url="about:blank")
        self._call("Page.navigate", url=f"{file.resolve().as_uri()}{view}")
        self.until("document.readyState === 'complete' && location.protocol === 'file:'")

    def get(self, expression: str) -> Any:
        """Return the value of an expression of JavaScript."""
        found = self._call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def until(self, expression: str) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + TIMEOUT
        while not self.get(expression):
            assert time.monotonic() < end, expression
            time.sleep(0.05)

    def click(self, selector: str) -> None:
        """Click on the middle of an element with the mouse."""
        self.get(
            f"document.querySelector({json.dumps(selector)}).scrollIntoView({{block:'center'}})"
        )
        place = self.get(
            f"(() => {{ const r = document.querySelector({json.dumps(selector)})"
            ".getBoundingClientRect(); return {x: r.x + r.width / 2, y: r.y + r.height / 2}; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self._call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **place)

    def press(self, key: str) -> None:
        """Press a key of `KEYS`."""
        code, text = KEYS[key]
        of_key = {"key": key, "windowsVirtualKeyCode": code, "text": text}
        self._call("Input.dispatchKeyEvent", type="keyDown", **of_key)
        self._call("Input.dispatchKeyEvent", type="keyUp", **{**of_key, "text": ""})

    def picture(self, file: Path) -> None:
        """Write the window as PNG."""
        shot = self._call("Page.captureScreenshot", format="png")
        file.write_bytes(base64.b64decode(shot["data"]))

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._last += 1
        message = {"id": self._last, "method": method, "params": parameters}
        message |= {"sessionId": self._session} if self._session else {}
        os.write(self._writing, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._last:
            self._note(answer)
        assert "error" not in answer, (method, answer["error"])
        return answer["result"]

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            assert select.select([self._reading], [], [], TIMEOUT)[0], "chromium does not answer"
            found = os.read(self._reading, 2**20)
            assert found, "chromium has ended"
            self._rest += found
        text, self._rest = self._rest.split(b"\0", 1)
        return json.loads(text)

    def _note(self, event: dict[str, Any]) -> None:
        about = event.get("params", {})
        if event.get("method") == "Network.requestWillBeSent":
            self.asked.append(about["request"]["url"])
        elif event.get("method") == "Log.entryAdded":
            self.said.append(about["entry"]["text"])
        elif event.get("method") in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown"):
            self.said.append(json.dumps(about))


@contextlib.contextmanager
def browser(downloads: Path) -> Iterator[Browser]:
    """Start chromium, and end it."""
    their_reading, our_writing = os.pipe()
    our_reading, their_writing = os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        with subprocess.Popen(
            ["bash", "-c", f'exec "$@" 3<&{their_reading} 4>&{their_writing}', "bash", *command],
            pass_fds=(their_reading, their_writing),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as process:
            os.close(their_reading)
            os.close(their_writing)
            try:
                yield Browser(our_reading, our_writing, downloads)
            finally:
                os.close(our_writing)
                os.close(our_reading)
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)
