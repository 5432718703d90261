"""What a row of the table is made of. Plain data; a course of several steps is a function that takes the `Attack`."""

from collections.abc import Callable
from dataclasses import dataclass, field

# Codes of replies that a row may ask for beside numbers: some answer; whatever comes, silence included.
SOME = "some"
WHATEVER = "whatever"
FINE = 200
ENDED = 504


@dataclass(frozen=True)
class Must:
    """What holds while the row goes on and afterwards. Sizes are in MB, times in seconds."""

    # Growth of the process while the attack goes on, and what is left of it when whoever attacked has gone.
    grow: float = 48
    keep: float = 40
    # The neighbour's longest wait in budgets of the row; None where the row holds the worker by right.
    budgets: float | None = 2
    # What may be logged meanwhile.
    lines: int = 120
    kilobytes: int = 512
    # The service itself answers again.
    alive: bool = True
    # How the program ends on SIGTERM.
    exits: tuple = (0,)


@dataclass(frozen=True)
class Ask:
    """A request to the service's subject `name`; `code` is one, several, or SOME or WHATEVER."""

    name: str
    code: object = SOME
    payload: bytes = b"{}"
    times: int = 1


@dataclass(frozen=True)
class Burst:
    """So many messages in one write, to subjects of the service in turn; then it is watched for `seconds`."""

    names: tuple
    times: int
    payload: bytes = b"{}"
    seconds: float = 1.0


@dataclass(frozen=True)
class Watch:
    """Nothing is sent: what the service does by itself goes on for so long."""

    seconds: float


@dataclass(frozen=True)
class Send:
    """Bytes for a web server over `connections`, then nothing is read for `seconds`. A function gives the bytes of each."""

    data: object
    connections: int = 1
    seconds: float = 1.5
    # What the first answer has to be, when it is read at last; None: it is not read.
    status: object = None


@dataclass(frozen=True)
class Row:
    name: str
    # The service: what follows its `local app = panini.app{ ... }` and `local function on(name, f, options)`.
    script: str = ""
    options: str = ""
    # In place of all options of panini.app.
    own_app: str = ""
    cpu: float = 0.25
    memory: int = 64
    web: bool = False
    flags: tuple = ()
    files: dict = field(default_factory=dict)
    # "run": service and neighbour; "broker": the embedded broker; "load": `panini check` of the script.
    program: str = "run"
    # A function (socket) → None that speaks as the broker of this service; the neighbour has the real one.
    speaks: Callable | None = None
    # Steps, or one function that takes the Attack.
    attack: object = ()
    must: Must = Must()
    # One row of each mechanism belongs to the ordinary check.
    quick: bool = False

    def __str__(self):
        return self.name
