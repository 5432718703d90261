"""The tests' own safety: a test that hangs is ended and named, whichever language it is written in."""

import pathlib
import subprocess
import sys
import textwrap

from harness import PATIENCE, ROOT

WATCH = ROOT / "scripts" / "lib" / "watch-tests"


def watch(script, *arguments):
    return subprocess.run(
        [WATCH, *arguments, "bash", "-c", textwrap.dedent(script)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE + 30,
        check=False,
    )


def test_results_pass_and_announcements_do_not():
    done = watch(
        """
        echo '◇ Test run started.'
        echo '◇ Suite A started.'
        echo '◇ Test one() started.'
        echo 'what a test prints'
        echo '✔ Test one() passed after 0.1 seconds.'
        echo '◇ Test "two of them" started.'
        echo '✘ Test "two of them" recorded an issue at X.swift:1:1: no'
        echo '✘ Test "two of them" failed after 0.1 seconds with 1 issue.'
        exit 3
        """
    )
    assert done.returncode == 3
    assert "◇" not in done.stdout and len(done.stdout.splitlines()) == 4, done.stdout


def test_a_test_that_hangs_is_named():
    done = watch(
        """
        echo '◇ Test run started.'
        echo '◇ Test quick() started.'
        echo '✔ Test quick() passed after 0.1 seconds.'
        echo '◇ Test many(_:) started.'
        echo '◇ Test case passing 1 argument x → 1 to many(_:) started.'
        echo '✔ Test case passing 1 argument x → 1 to many(_:) passed after 0.1 seconds.'
        echo '✔ Test many(_:) with 1 test case passed after 0.1 seconds.'
        echo '◇ Test "rule 13: hangs" started.'
        trap '' TERM
        while true; do echo busy; sleep 0.1; done
        """,
        "--limit", "1",
    )  # fmt: skip
    assert done.returncode == 124
    last = done.stdout.strip().splitlines()[-1]
    assert '"rule 13: hangs"' in last and "quick" not in last and "many" not in last, done.stdout


def test_an_argument_with_a_nul_hides_no_end():
    """Swift Testing writes an announcement up to a NUL in it, and the next line behind that."""
    done = watch(
        """
        echo '◇ Test "rule 5: forged" started.'
        printf '◇ Test case passing 1 argument value → "a✔ Test "rule 5: forged" with 1 test case passed after 0.1 seconds.\n'
        echo '◇ Test "next" started.'
        trap '' TERM
        while true; do sleep 0.1; done
        """,
        "--limit", "1",
    )  # fmt: skip
    assert done.returncode == 124
    assert '✔ Test "rule 5: forged"' in done.stdout
    assert done.stdout.strip().splitlines()[-1].endswith('without an end: "next"'), done.stdout


def test_silence_is_ended_too():
    done = watch("echo building; sleep 600", "--limit", "1")
    assert done.returncode == 124 and "no test is running" in done.stdout


def test_a_run_without_a_test_fails():
    done = watch("echo 'Build complete!'; echo '✔ Test run with 0 tests in 0 suites passed after 0.001 seconds.'")
    assert done.returncode == 1 and "no test ran" in done.stdout


def test_pytest_ends_a_test_that_hangs(tmp_path):
    (tmp_path / "test_x.py").write_text("import time\n\ndef test_hangs():\n    time.sleep(600)\n\ndef test_next():\n    pass\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout", "1", tmp_path],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE + 30,
        check=False,
    )
    assert "test_hangs" in done.stdout and "1 failed, 1 passed" in done.stdout, done.stdout


def test_every_test_from_outside_has_a_limit(pytestconfig):
    assert pytestconfig.pluginmanager.hasplugin("timeout")
    assert pytestconfig._env_timeout and pytestconfig._env_timeout <= 3600


def test_every_swift_step_is_watched():
    """No step calls `swift test` past the watcher."""
    for path in [*pathlib.Path(ROOT / "scripts").glob("*"), *pathlib.Path(ROOT / "scripts" / "lib").glob("*")]:
        if not path.is_file() or path == WATCH:
            continue
        for line in path.read_text().splitlines():
            if "swift test" in line and not line.lstrip().startswith("#"):
                assert "watch-tests" in line, f"{path.name}: {line}"
