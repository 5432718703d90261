"""The control socket: a local program of the same user that drips, floods, or asks for what is not there."""

import contextlib
import json
import os
import socket
import time

from .rows import Must, Row

MUST = Must(lines=200)


def row(name, attack, must=MUST, **more):
    return Row(f"control.{name}", more.pop("script", ""), attack=attack, must=must, **more)


def still_answers(a):
    code, output = a.panini("ps", timeout=15)
    a.check(code == 0 and "evil" in output, f"panini ps: {code}: {output[-200:]}")


def held(count, data=b"", seconds=1.5):
    """Connections that ask for nothing: others are still answered."""

    def attack(a):
        for _ in range(count):
            with contextlib.suppress(OSError):
                a.call_control(data, read=False)
        still_answers(a)
        a.sleep(seconds)

    return attack


def descriptors(a):
    return len(os.listdir(f"/proc/{a.pid}/fd"))


def ended(data, most):
    """A connection that is never done is ended within the time."""

    def attack(a):
        connection = a.call_control(data, read=False)
        connection.settimeout(most)
        began = time.monotonic()
        try:
            while time.monotonic() - began < most:
                if not connection.recv(1000):
                    return
        except TimeoutError:
            pass
        except OSError:
            return
        a.fail(f"still open after {most} s")

    return attack


def dripped(most):
    def attack(a):
        connection = a.call_control(b"{", read=False)
        began = time.monotonic()
        while time.monotonic() - began < most:
            try:
                connection.sendall(b" ")
            except OSError:
                return
            a.sleep(0.2)
        a.fail(f"still open after {most} s")

    return attack


def asked(data, times=1, answered=True):
    def attack(a):
        for _ in range(times):
            if a.over.is_set():
                return
            try:
                answer = a.call_control(data)
            except OSError:
                answer = b""
            a.check(not answered or answer.strip().startswith(b"{"), f"answered {answer[:100]!r}")
            a.open.close()
        still_answers(a)

    return attack


def unread(a):
    """Questions by the thousand in one write, on many connections; nothing is read."""
    for _ in range(200):
        with contextlib.suppress(OSError):
            a.call_control(b'{"command":"ps"}\n' * 200, read=False)
    still_answers(a)


def flood(a):
    connection = a.call_control(b"", read=False)
    a.flood(connection, b"x" * 65536, 2)
    still_answers(a)


def flood_after_question(a):
    connection = a.call_control(b'{"command":"ps"}\n', read=False)
    a.flood(connection, b"x" * 65536, 2)
    still_answers(a)


def reloads(a):
    for _ in range(30):
        with contextlib.suppress(OSError):
            a.call_control(b'{"command":"reload"}\n', read=False)
    a.sleep(2)
    still_answers(a)


def while_stuck(a):
    a.requester.publish("evil.x")
    a.sleep(0.3)
    began = time.monotonic()
    code, _ = a.panini("ps", timeout=20)
    a.check(code == 0 and time.monotonic() - began < 15, "panini ps does not come back")


def impostor(a):
    """A socket in the folder that never answers does not hold `panini ps` for good."""
    path = a.folder / "control" / "1.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        code, output = a.panini("ps", timeout=20)
    path.unlink()
    a.check("evil" in output or code == 1, f"panini ps: {code}: {output[-200:]}")


def impostor_says(answer):
    def attack(a):
        import threading

        path = a.folder / "control" / "1.sock"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen()

        def serve():
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                connection.settimeout(5)
                connection.recv(1000)
                for _ in range(200):
                    connection.sendall(answer)
                connection.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            code, output = a.panini("ps", timeout=20)
        finally:
            listener.close()
            path.unlink()
        a.check(code in (0, 1) and "Fatal" not in output, f"panini ps: {code}")
        a.check("\x1b[31m" not in output, "an escape sequence of another program is shown")

    return attack


def permissions(a):
    folder = os.stat(a.folder / "control")
    a.check(folder.st_mode & 0o077 == 0, oct(folder.st_mode))
    a.check(os.stat(a.control).st_mode & 0o077 == 0, oct(os.stat(a.control).st_mode))


def question(**members):
    return json.dumps(members).encode() + b"\n"


ROWS = [
    row("held.silent", held(300), quick=True),
    row("held.half-a-line", held(300, b'{"command":')),
    row("held.many", held(900), must=Must(lines=200)),
    row("ended.silent", ended(b"", 20)),
    row("ended.half-a-line", ended(b'{"command":', 20)),
    row("ended.drip", dripped(20)),
    row("line.too-long", ended(b"x" * 100_000, 5)),
    row("line.flood", flood),
    row("line.flood-after-the-question", flood_after_question),
    row("asked.nonsense", asked(b"nonsense\n", 50)),
    row("asked.depth", asked(b"[" * 4000 + b"\n")),
    row("asked.bytes", asked(b"\xff\xfe\0\n")),
    row("asked.unknown-command", asked(question(command="\x1b[31mshutdown\u202e\r\nERROR forged"), 20), quick=True),
    row("asked.unknown-service", asked(question(command="reload", service="\x1b[31m\r\nERROR forged\u009b"), 20)),
    row("asked.wrong-types", asked(question(command=["ps"], service={}))),
    row("asked.equal-keys", asked(b'{"command":"ps","command":"reload","command":"nothing"}\n')),
    row("asked.thousand-times", asked(b'{"command":"ps"}\n', 300)),
    row("asked.unread", unread),
    row("asked.reloads", reloads, must=Must(lines=400)),
    row("ps.while-a-handler-loops", while_stuck, script='on("x", forever)', cpu=0.25),
    row("ps.beside-a-silent-one", impostor),
    row("ps.beside-one-that-floods", impostor_says(b"x" * 100_000)),
    row("ps.beside-one-that-escapes", impostor_says(
        b'{"success":true,"pid":1,"services":[{"name":"\\u001b[31mred","state":"\\u001b[31m","version":"\\u202e"}]}\n')),
    row("permissions", permissions),
    # Without its folder the program runs on, and says so.
    row("folder.is-a-file", lambda a: a.check("control" in a.program.output, "nothing was said"), files={"control": b"not a folder"}),
]
