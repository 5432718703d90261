"""Fixtures. Every test that takes `broker` (or something built on it) runs on both brokers."""

import atexit
import os
import shutil
import tempfile

import pytest

from harness import NATS_SERVER, PATIENCE, PROGRAM, Broker, Client, Gate, Program, Service, panini, script_text
from secure import SecureServer

KINDS = ("nats-server", "embedded")

# `panini ps` and `panini reload` see all programs of a user: those of another process of tests are none of this one's.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["XDG_RUNTIME_DIR"] = tempfile.mkdtemp(prefix="panini-")
    atexit.register(shutil.rmtree, os.environ["XDG_RUNTIME_DIR"], ignore_errors=True)

# No test hangs for good: pytest-timeout ends it, with its name and the stacks of all threads.
os.environ.setdefault("PYTEST_TIMEOUT", str(max(900, 20 * PATIENCE)))


def pytest_configure(config):
    for path, hint in ((PROGRAM, "PANINI_BIN"), (NATS_SERVER, "PANINI_NATS_SERVER")):
        if not os.access(path, os.X_OK):
            raise pytest.UsageError(f"not a program: {path} ({hint})")


def pytest_runtest_logreport(report):
    """What each test takes, for the list of the slowest at the end of scripts/test."""
    path = os.environ.get("PANINI_TEST_TIMES")
    # Of a process of pytest-xdist, the one that started it hears as well.
    if path and report.when == "call" and "PYTEST_XDIST_WORKER" not in os.environ:
        with open(path, "a", encoding="utf-8") as file:
            file.write(f"{report.duration:.2f}\t{report.nodeid}\n")


# Programs that the processes of pytest-xdist have found left, by the process's name.
LEFT = []


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    """No program outlives the tests; one that a test has forgotten fails the run."""
    left = [" ".join(arguments) for arguments in Program.end_all()]
    if hasattr(session.config, "workeroutput"):
        # The exit code of such a process is not that of the run.
        session.config.workeroutput["left"] = left
        return
    left += LEFT
    if left:
        print("\nprograms that no test has ended:", *left, sep="\n  ")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    LEFT.extend(getattr(node, "workeroutput", {}).get("left", []))


@pytest.fixture(scope="session", params=KINDS)
def broker(request):
    """One broker of each kind for the whole run; tests leave nothing subscribed behind."""
    instance = Broker(request.param).start()
    yield instance
    instance.stop()


@pytest.fixture(params=KINDS)
def own_broker(request):
    """A broker that a test may stop, kill and start again."""
    instance = Broker(request.param).start()
    yield instance
    instance.kill()


@pytest.fixture(scope="session")
def nats_server():
    """The real broker alone, for what does not depend on the kind."""
    instance = Broker("nats-server").start()
    yield instance
    instance.stop()


@pytest.fixture
def secure_server(tmp_path):
    """secure_server(configuration) → a running nats-server of this test alone, however the test ends."""
    running = []

    def start_server(body):
        server = SecureServer(tmp_path, body)
        running.append(server)
        return server.start()

    yield start_server
    for server in running:
        server.kill()


@pytest.fixture
def client(broker):
    instance = Client(broker.url)
    yield instance
    instance.close()


@pytest.fixture
def asking(nats_server):
    """A client of the real broker, for what does not depend on the kind."""
    instance = Client(nats_server.url)
    yield instance
    instance.close()


@pytest.fixture
def gate(client):
    return Gate(client)


@pytest.fixture
def start(tmp_path):
    """start(url, script, ...) → a running service; all are stopped in order when the test ends."""
    running = []

    def start_service(url, script, name="test", options="", arguments=(), env=None, files=None, ready=True):
        folder = tmp_path / f"service{len(running)}"
        folder.mkdir()
        for path, text in (files or {}).items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
        if isinstance(script, os.PathLike):
            path = script
            # Its own folder is the repository's: no log files there.
            env = {"PANINI_LOGGER_FILES_PATH": str(folder / "logs"), **(env or {})}
        else:
            path = folder / f"{name}.lua"
            path.write_text(script_text(script, name, options))
        instance = Service(path, url, arguments, env, ready)
        running.append(instance)
        return instance

    yield start_service
    failure = None
    for instance in reversed(running):
        try:
            # One that a test has ended itself was checked there.
            if instance.running:
                instance.stop()
        except AssertionError as error:
            failure = failure or error
        finally:
            instance.kill()
    if failure:
        raise failure


@pytest.fixture
def service(start, broker):
    """service(script, ...) → a running service on the broker of this test."""

    def start_service(script, **options):
        return start(broker.url, script, **options)

    return start_service


@pytest.fixture
def check(tmp_path):
    """check(script, *arguments) → the finished `panini check`."""

    def run_check(script, *arguments, options="", files=None, name="test"):
        for path, text in (files or {}).items():
            target = tmp_path / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
        path = tmp_path / f"{name}.lua"
        path.write_text(script_text(script, name, options))
        return panini("check", path.name, *arguments, cwd=tmp_path)

    return run_check
