"""A crash of the program itself: what the log says of it, and what it does not."""

import os
import signal
import time

from harness import PROGRAM, Client

SECRET = "the-secret-of-the-test"


def crashed(running):
    begun = time.monotonic()
    code = running.wait()
    running.expected_exit = code
    # Nothing of what the process had in memory, and no registers.
    for word in (SECRET, "Registers", "rax", "Backtrace took", "Images ("):
        assert word not in running.output, running.output
    return code, time.monotonic() - begun


def test_a_crash_says_where_and_shows_no_memory(start, nats_server):
    running = start(nats_server.url, f'local secret = "{SECRET}"\napp.listen("ask", function() return secret end)')
    running.signal(signal.SIGSEGV)
    code, seconds = crashed(running)
    assert code == -signal.SIGSEGV and seconds < 5
    assert "panini: crashed: SIGSEGV sent by the process" in running.output
    assert "panini: version " in running.output
    # Addresses in the program's file.
    assert f"{os.path.basename(PROGRAM)}(+0x" in running.output


def test_a_crash_in_a_script_names_it_and_its_thread(start, nats_server):
    client = Client(nats_server.url)
    running = start(
        nats_server.url,
        f"""
        local secret = "{SECRET}"
        local abort = assert(package.loadlib("libc.so.6", "abort"))
        app.listen("crash", function() abort() end)
        """,
        arguments=["--trust"],
    )
    client.collect("crash", [b"{}"])
    code, seconds = crashed(running)
    assert code == -signal.SIGABRT and seconds < 5
    assert "panini: crashed: SIGABRT, on the thread NIO-ELT-" in running.output
    assert "in a script of test" in running.output
    client.close()


def test_the_report_of_swift_is_there_for_who_asks_for_it(start, nats_server):
    running = start(nats_server.url, "", env={"SWIFT_BACKTRACE": "enable=no"})
    running.signal(signal.SIGSEGV)
    running.wait()
    running.expected_exit = -signal.SIGSEGV
    assert "panini: crashed" not in running.output
