"""The scripts of the check: what decides whether a run passes is tried, too."""

import os
import shutil
import signal
import subprocess

import pytest

from harness import PATIENCE, ROOT, Program, wait_until


def bash(folder, text, **variables):
    """A bash with the functions of scripts/lib, in the mode of scripts/test; what it notes lies in the folder."""
    start = "set -euo pipefail\n" + "".join(f'. "{ROOT}/scripts/lib/{name}.sh"\n' for name in ("common", "system", "tools", "steps"))
    start += f'PANINI_TOOLS="{folder}"\n'
    return subprocess.run(
        ["bash", "-c", start + text], capture_output=True, text=True, timeout=2 * PATIENCE, check=False,
        env={**os.environ, "NO_COLOR": "1", **{name: str(value) for name, value in variables.items()}},
    )


@pytest.fixture
def times(tmp_path):
    """More lines than a pipe takes at once."""
    path = tmp_path / "test-times"
    path.write_text("".join(f"{number / 100:.2f}\ttest_{'x' * 60}_{number}\n" for number in range(20_000)))
    return path


def test_the_slowest_tests_are_printed_however_many_there_are(times, tmp_path):
    steps = tmp_path / "step-times"
    steps.write_text("     1 s  tools\n")
    for _ in range(5):
        result = bash(tmp_path, f'print_times "{steps}"', PANINI_TEST_TIMES=times)
        assert result.returncode == 0, result.stderr
    lines = result.stderr.splitlines()
    slowest = lines[lines.index("slowest tests") + 1 :]
    assert len(slowest) == 10 and slowest[0].split()[0] == "200.0", slowest


def test_a_step_that_takes_too_long_is_ended_and_named(tmp_path):
    result = bash(tmp_path, "step_slow() { sleep 600; }\nrun_steps slow", PANINI_STEP_LIMIT=1)
    assert result.returncode == 1
    assert "too long: the step has not ended after 1 s" in result.stderr and "sleep 600" in result.stderr
    assert "failed: step slow" in result.stderr


def test_a_step_that_fails_is_named(tmp_path):
    result = bash(tmp_path, "step_bad() { false; echo not here; }\nrun_steps bad")
    assert result.returncode == 1
    assert "failed: step bad" in result.stderr and "not here" not in result.stdout


# Two that only pass when they run at the same time.
BESIDE = """
meets() { touch "$PANINI_TOOLS/$1"; for _ in {1..200}; do [ ! -e "$PANINI_TOOLS/$2" ] || return 0; sleep 0.1; done; return 1; }
step_long() { echo long begins; meets long short; nice; sleep 0.5; echo long ends; }
step_short() { echo short begins; meets short long; nice; echo short ends; }
step_bad() { echo bad; false; }
"""


def test_steps_run_beside_each_other(tmp_path):
    result = bash(tmp_path, BESIDE + "run_steps long+short 2>&1")
    assert result.returncode == 0, result.stdout
    said = [line for line in result.stdout.splitlines() if line and "times" not in line]
    # What the second says is in one piece, and the first gives way to it.
    assert said[:8] == [
        "==> long (beside it: short)", "long begins", "10", "long ends",
        "==> short (ran beside long)", "short begins", "0", "short ends",
    ], said
    assert [line.split(" s  ")[1] for line in said[8:10]] == ["long  (beside short)", "short  (beside long)"]


@pytest.mark.parametrize("steps", ["long+short+bad", "bad+long+short"])
def test_a_step_that_fails_beside_others_is_named_and_they_are_waited_for(steps, tmp_path):
    result = bash(tmp_path, BESIDE + f"run_steps {steps} long 2>&1")
    assert result.returncode == 1
    assert result.stdout.splitlines()[-1].startswith("failed: step bad, after ")
    assert result.stdout.count("long ends") == 1 and result.stdout.count("short ends") == 1 and "bad" in result.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_steps_that_are_interrupted_leave_nothing(number, tmp_path):
    text = BESIDE.replace("sleep 0.5", "sleep 601") + "step_other() { python3 -c 'import time; time.sleep(602)'; }\n"
    text = "set -euo pipefail\n" + "".join(f'. "{ROOT}/scripts/lib/{name}.sh"\n' for name in ("common", "system", "tools", "steps")) + text
    running = Program(["bash", "-c", text + f'PANINI_TOOLS="{tmp_path}"\nrun_steps long+short+other'])
    wait_until(lambda: (tmp_path / "short").exists() and (tmp_path / "long").exists(), "they run")
    running.signal(number)
    assert running.wait() == 128 + number
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert "sleep 601" not in listed.split("\n") and "sleep(602)" not in listed.replace(text, "")


@pytest.mark.parametrize("pipe", ["sort f | head -n 1", "cat f | grep -q x", "cat f | sed -n 3q"])
def test_a_pipe_whose_reader_ends_early_is_refused(pipe, tmp_path):
    for folder in ("scripts/lib", ".ci"):
        (tmp_path / folder).mkdir(parents=True)
    for path in ("scripts/lint-shell", "scripts/lib/common.sh", "scripts/lib/system.sh"):
        shutil.copy(ROOT / path, tmp_path / path)
    lint = tmp_path / "scripts" / "lint-shell"
    assert subprocess.run([lint], capture_output=True, timeout=2 * PATIENCE, check=False).returncode == 0
    (tmp_path / "scripts" / "bad").write_text(f"#!/usr/bin/env bash\nset -euo pipefail\n{pipe}\n")
    result = subprocess.run([lint], capture_output=True, text=True, timeout=2 * PATIENCE, check=False)
    assert result.returncode == 1
    assert f"scripts/bad:3:{pipe}" in result.stderr
