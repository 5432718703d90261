"""A headless Chromium, driven over its debugging protocol by the same WebSocket client that the tests use."""

import json
import shutil
import urllib.request

from websockets.sync.client import connect

from harness import PATIENCE, Program, wait_until

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Browser:
    """One browser with a profile of its own."""

    def __init__(self, folder):
        self.program = Program([
            PROGRAM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
            "--disable-extensions", "--disable-background-networking", "--remote-debugging-port=0", f"--user-data-dir={folder}", "about:blank",
        ])  # fmt: skip
        self.port = int(self.program.wait_for(r"DevTools listening on ws://127\.0\.0\.1:(\d+)/").group(1))

    def open(self, address):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/json/new?{address}", method="PUT")
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return Page(json.load(answer)["webSocketDebuggerUrl"])

    def close(self):
        self.program.kill()


class Page:
    """A tab of the browser."""

    def __init__(self, address):
        # Its messages have no limit that would suit us.
        self.connection = connect(address, max_size=None, compression=None, open_timeout=PATIENCE)
        self.socket = self.connection.__enter__()
        self.number = 0

    def call(self, method, **parameters):
        self.number += 1
        self.socket.send(json.dumps({"id": self.number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self.socket.recv(timeout=PATIENCE))
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                return answer["result"]

    def evaluate(self, expression):
        """The value of an expression in the page."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait_for(self, expression, what):
        try:
            return wait_until(lambda: self.evaluate(expression), what)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.evaluate('document.body?.innerText')}") from None

    def type(self, text):
        """Types into what has the focus, and presses Enter, as a keyboard does."""
        self.call("Input.insertText", text=text)
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13, text="\r" if kind == "keyDown" else "")

    def close(self):
        self.connection.__exit__(None, None, None)
