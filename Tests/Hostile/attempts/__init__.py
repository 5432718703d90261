"""The siege as data: each row is one attempt to hold, fill, crash or fool the host. Tests/Integration/siege.py runs them.

A row is a name, a setup, an attack and what must hold. It has a program of its own: the service that attacks, or is
attacked, and a neighbour beside it on the same worker, which is asked all the time. Files are by group; `ROWS` has all.
"""

import importlib

GROUPS = ("lua", "fairness", "memory", "http1", "http2", "websocket", "bridge", "fetch", "nats_client", "broker", "control")


def all_rows():
    """Every row, in the order of the groups."""
    return [row for group in GROUPS for row in importlib.import_module(f"{__name__}.{group}").ROWS]
