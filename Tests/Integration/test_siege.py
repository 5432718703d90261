"""The siege: the rows of Tests/Hostile/attempts, each against a program of its own (siege.py measures).

The ordinary check runs one row of each mechanism; PANINI_SIEGE=all, which `scripts/test --hostile` sets, all of them.
PANINI_SIEGE_TABLE names a file for what was measured.
"""

import os

import pytest

from siege import Measured, Siege, all_rows

LEAST = 200
ALL = os.environ.get("PANINI_SIEGE") == "all"
ROWS = all_rows()
CHOSEN = [row for row in ROWS if ALL or row.quick]


@pytest.fixture(scope="module")
def siege(tmp_path_factory, request):
    instance = Siege(tmp_path_factory.mktemp("siege"), os.environ.get("PANINI_SIEGE_TABLE"))
    yield instance
    instance.close()
    table = "\n".join([Measured.HEAD, *(measured.text for measured in instance.results)])
    reporter = request.config.pluginmanager.getplugin("terminalreporter")
    if ALL and reporter:
        reporter.write_line("\n" + table)


def test_the_table_has_enough_rows_and_every_name_once():
    names = [row.name for row in ROWS]
    assert len(names) >= LEAST
    assert len(set(names)) == len(names), sorted(name for name in set(names) if names.count(name) > 1)
    for group in ("lua", "fair", "memory", "http1", "http2", "websocket", "bridge", "fetch", "nats", "broker", "control"):
        assert sum(name.startswith(f"{group}.") for name in names) >= 8, group
        assert any(row.quick and row.name.startswith(f"{group}.") for row in ROWS), group


@pytest.mark.parametrize("row", CHOSEN, ids=str)
def test_row(row, siege):
    measured = siege.run(row)
    if measured.failures:
        pytest.fail(f"{Measured.HEAD}\n{measured.text}", pytrace=False)


def test_all_rows_have_run(siege):
    """Last in the file: a selection that loses rows does not pass for the whole table."""
    assert len(siege.results) >= (LEAST if ALL else 10)
