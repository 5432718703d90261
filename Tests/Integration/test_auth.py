"""Credentials of every kind from every place: right ones let in, wrong ones end the program at once with one line, and
no secret is ever shown."""

import json
import re
import signal

import pytest

from harness import PATIENCE, PROGRAM, Program, environment, panini
from secure import Guarded, Operator, SecureServer, secrets_of, user_key

TOKEN = "s3cr3t-t0ken-value"
PASSWORD = "p4ss-w0rd-value"
NEW_PASSWORD = "n3w-p4ss-w0rd-value"
WRONG = "wr0ng-secret-value"
SECRETS = [TOKEN, PASSWORD, NEW_PASSWORD, WRONG]

USER = user_key()
STRANGER = user_key()
OPERATOR = Operator()
CREDENTIALS = OPERATOR.credentials()
# A user of the account who signs with somebody else's key, and one of another operator.
FORGED = OPERATOR.credentials(seed=STRANGER.seed)
FOREIGN = Operator().credentials()

BODIES = {
    "token": f'authorization {{ token: "{TOKEN}" }}',
    "user": f'authorization {{ user: ada, password: "{PASSWORD}" }}',
    "nkey": f"authorization {{ users: [{{ nkey: {USER.public} }}] }}",
    "operator": OPERATOR.configuration(),
}


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    """One server of each kind, started when it is first wanted."""
    folder = tmp_path_factory.mktemp("servers")
    running = {}

    def get(kind):
        if kind not in running:
            running[kind] = SecureServer(folder, BODIES[kind]).start()
        return running[kind]

    yield get
    for server in running.values():
        server.stop()


@pytest.fixture
def guarded(tmp_path):
    seeds = [USER.seed, STRANGER.seed, *secrets_of(CREDENTIALS), *secrets_of(FORGED), *secrets_of(FOREIGN)]
    instance = Guarded(tmp_path, [*SECRETS, *seeds])
    (tmp_path / "user.nk").write_text(USER.seed + "\n")
    (tmp_path / "stranger.nk").write_text(STRANGER.seed + "\n")
    (tmp_path / "user.creds").write_text(CREDENTIALS)
    (tmp_path / "forged.creds").write_text(FORGED)
    (tmp_path / "foreign.creds").write_text(FOREIGN)
    (tmp_path / "garbage.creds").write_text("no credentials at all\n")
    instance.write()
    yield instance
    instance.close()


# ---- each kind


RIGHT = [
    ("token", {"auth-token": TOKEN}),
    ("user", {"auth-user": "ada", "auth-password": PASSWORD}),
    ("nkey", {"auth-nkey-seed": USER.seed}),
    ("nkey", {"auth-nkey-seed-file": "user.nk"}),
    ("operator", {"auth-credentials-file": "user.creds"}),
    ("operator", {"auth-credentials": CREDENTIALS}),
]
RIGHT_IDS = ["token", "user", "nkey-seed", "nkey-seed-file", "credentials-file", "credentials"]


def flags(options):
    return [text for name, value in options.items() for text in (f"--{name}", value)]


def variables(options):
    return {f"PANINI_{name.upper().replace('-', '_')}": value for name, value in options.items()}


def nested(options):
    return {name.removeprefix("auth-").replace("-", "_"): value for name, value in options.items()}


@pytest.mark.parametrize("kind, options", RIGHT, ids=RIGHT_IDS)
def test_on_the_command_line(servers, guarded, kind, options):
    guarded.works("--server", servers(kind).url(), *flags(options))


@pytest.mark.parametrize("kind, options", RIGHT, ids=RIGHT_IDS)
def test_in_the_environment(servers, guarded, kind, options):
    guarded.works(env={"NATS_URL": servers(kind).url(), **variables(options)})


@pytest.mark.parametrize("kind, options", RIGHT, ids=RIGHT_IDS)
def test_in_a_configuration_file(servers, guarded, kind, options):
    """Paths are relative to the file, wherever the program runs."""
    path = guarded.folder / "guarded.json"
    path.write_text(json.dumps({"servers": [servers(kind).url()], "auth": nested(options)}))
    elsewhere = guarded.folder / "elsewhere"
    elsewhere.mkdir()
    program = guarded.run("--config", path, cwd=elsewhere)
    guarded.stop(program)


@pytest.mark.parametrize("kind, options", RIGHT, ids=RIGHT_IDS)
def test_in_the_script(servers, guarded, kind, options):
    """Paths are relative to the script, wherever the program runs."""
    table = ", ".join(f"{name} = {json.dumps(value)}" for name, value in nested(options).items())
    guarded.write(f'servers = {{ "{servers(kind).url()}" }}, auth = {{ {table} }}')
    elsewhere = guarded.folder / "elsewhere"
    elsewhere.mkdir()
    program = guarded.run(cwd=elsewhere)
    guarded.stop(program)


@pytest.mark.parametrize("kind, userinfo", [("token", TOKEN), ("user", f"ada:{PASSWORD}")])
def test_in_the_address(servers, guarded, kind, userinfo):
    guarded.works("--server", servers(kind).url(userinfo))


@pytest.mark.parametrize("command", ["publish", "subscribe"])
def test_the_other_client_commands(servers, guarded, command):
    server = servers("token")
    program = guarded.run("--server", server.url(), "--auth-token", TOKEN)
    arguments = {"publish": ["publish", "guarded.ping", "{}"], "subscribe": ["subscribe", "panini_events.>", "--count", "1"]}
    if command == "subscribe":
        # What it counts comes from a second start of the service.
        watcher = Program(
            [PROGRAM, *arguments[command], "--server", server.url()], env=environment(PANINI_AUTH_TOKEN=TOKEN)
        )
        watcher.wait_for("listening to")
        guarded.stop(guarded.run("--server", server.url(), "--auth-token", TOKEN))
        assert watcher.wait() == 0, watcher.output
        guarded.silent(watcher.output)
    else:
        done = panini(*arguments[command], "--server", server.url(), env={"PANINI_AUTH_TOKEN": TOKEN})
        assert done.returncode == 0, done.stderr
        guarded.silent(done.stdout + done.stderr)
    guarded.stop(program)


# ---- wrong ones


REFUSED = [
    ("token", {}),
    ("token", {"auth-token": WRONG}),
    ("token", {"auth-user": "ada", "auth-password": WRONG}),
    ("user", {"auth-user": "ada", "auth-password": WRONG}),
    ("user", {"auth-user": "ada"}),
    ("user", {"auth-token": WRONG}),
    ("nkey", {}),
    ("nkey", {"auth-nkey-seed": STRANGER.seed}),
    ("nkey", {"auth-nkey-seed-file": "stranger.nk"}),
    ("operator", {}),
    ("operator", {"auth-credentials-file": "forged.creds"}),
    ("operator", {"auth-credentials-file": "foreign.creds"}),
    ("operator", {"auth-credentials": FOREIGN}),
]


@pytest.mark.parametrize("kind, options", REFUSED, ids=lambda v: v if isinstance(v, str) else "+".join(v) or "none")
def test_wrong_credentials_end_at_once(servers, guarded, kind, options):
    server = servers(kind)
    guarded.refused("--server", server.url(), *flags(options), words=[server.url(), "Authorization Violation"])


@pytest.mark.parametrize(
    "kind, options, words",
    [
        ("nkey", {"auth-nkey-seed": WRONG}, ["seed"]),
        ("nkey", {"auth-nkey-seed": USER.public}, ["seed"]),
        ("nkey", {"auth-nkey-seed-file": "missing.nk"}, ["missing.nk"]),
        ("nkey", {"auth-nkey-seed-file": "garbage.creds"}, ["garbage.creds"]),
        ("operator", {"auth-credentials-file": "missing.creds"}, ["missing.creds"]),
        ("operator", {"auth-credentials-file": "garbage.creds"}, ["garbage.creds"]),
        ("operator", {"auth-credentials": WRONG}, ["credentials"]),
    ],
)
def test_unusable_credentials_end_at_once(servers, guarded, kind, options, words):
    guarded.refused("--server", servers(kind).url(), *flags(options), words=words)


@pytest.mark.parametrize("userinfo", [WRONG, f"ada:{WRONG}"])
def test_wrong_credentials_in_the_address(servers, guarded, userinfo):
    server = servers("user")
    text = guarded.refused("--server", server.url(userinfo), words=[server.url()])
    assert "ada" not in text


@pytest.mark.parametrize("address", [f"nats://ada:{WRONG}@", f"http://ada:{WRONG}@127.0.0.1", f"nats://ada:{WRONG}@127.0.0.1:x"])
def test_an_address_that_cannot_be_read(guarded, address):
    guarded.refused("--server", address, code=2)


def test_no_broker_shows_no_credentials(guarded):
    text = guarded.refused(
        "--server", f"nats://ada:{WRONG}@127.0.0.1:1", "--no-retry-on-start", words=["no broker at nats://127.0.0.1:1"], client=False
    )
    assert "ada" not in text
    asked = panini("request", "x", "--server", f"nats://ada:{WRONG}@127.0.0.1:1")
    assert asked.returncode == 1 and "no broker at nats://127.0.0.1:1" in asked.stderr
    guarded.silent(asked.stderr)


# ---- contradictions


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--auth-token", WRONG, "--auth-user", WRONG], ["--auth-token", "--auth-user"]),
        (["--auth-nkey-seed", WRONG, "--auth-credentials-file", "x"], ["--auth-nkey-seed", "--auth-credentials-file"]),
        (["--auth-password", WRONG], ["--auth-password", "auth.user"]),
        (["--auth-token", ""], ["--auth-token", "empty"]),
        (["--tls-cert-file", "x"], ["tls.cert_file", "tls.key_file"]),
        (["--tls-key-file", "x"], ["tls.cert_file", "tls.key_file"]),
        (["--password", WRONG], ["--auth-password"]),
        ([f"--auth-tokn={WRONG}"], ["--auth-token"]),
    ],
)
def test_contradictions_outside(guarded, arguments, words):
    guarded.refused(*arguments, code=2, words=words)


@pytest.mark.parametrize(
    "options, words",
    [
        (f'auth = {{ token = "{WRONG}", user = "{WRONG}" }}', ["auth.token", "auth.user"]),
        (f'auth = {{ password = "{WRONG}" }}', ["auth.password", "auth.user"]),
        (f'auth = {{ credentials = "{WRONG}", credentials_file = "x" }}', ["auth.credentials", "auth.credentials_file"]),
        (f'auth = {{ tokn = "{WRONG}" }}', ["auth.tokn", "token"]),
        ("auth = { token = 5 }", ["auth.token", "string"]),
        (f'auth = "{WRONG}"', ["auth", "table"]),
        ('tls = { cert_file = "x" }', ["tls.cert_file", "tls.key_file"]),
        ('tls = { verify = "no" }', ["tls.verify"]),
        (f'servers = {{ "nats://ada:{WRONG}@" }}', ["servers"]),
    ],
)
def test_contradictions_in_the_script(guarded, options, words):
    guarded.write(options)
    result = panini("check", "guarded.lua", cwd=guarded.folder)
    assert result.returncode == 1 and "guarded.lua:2:" in result.stderr, result.stderr
    for word in words:
        assert word in result.stderr, result.stderr
    guarded.silent(result.stdout + result.stderr)


def test_check_shows_no_secrets(guarded):
    guarded.write(f'servers = {{ "nats://ada:{PASSWORD}@127.0.0.1" }}, auth = {{ token = "{TOKEN}" }}')
    for arguments in ([], ["--json"]):
        result = panini("check", "guarded.lua", *arguments, "--debug", cwd=guarded.folder)
        assert result.returncode == 0, result.stderr
        guarded.silent(result.stdout + result.stderr)


# ---- precedence


def test_the_strongest_source_decides(servers, guarded):
    """Each source is right while all weaker ones are wrong, in value or in kind."""
    url = servers("token").url()
    guarded.write(f'auth = {{ user = "ada", password = "{WRONG}" }}')
    config = guarded.folder / "guarded.json"
    config.write_text(json.dumps({"auth": {"token": TOKEN}}))
    guarded.stop(guarded.run("--server", url, "--config", config))
    config.write_text(json.dumps({"auth": {"nkey_seed_file": "missing.nk"}}))
    guarded.stop(guarded.run("--server", url, "--config", config, env={"PANINI_AUTH_TOKEN": TOKEN}))
    guarded.stop(guarded.run("--server", url, "--config", config, "--auth-token", TOKEN, env={"PANINI_AUTH_USER": "bob"}))


def test_a_password_from_the_environment_completes_the_script(servers, guarded):
    guarded.write('auth = { user = "ada" }')
    guarded.works(
        "--server",
        servers("user").url(),
        env={"PANINI_AUTH_PASSWORD": PASSWORD},
        client=["--server", servers("user").url(), "--auth-user", "ada"],
    )


def test_outside_credentials_replace_those_in_the_scripts_addresses(servers, guarded):
    guarded.write(f'servers = {{ "{servers("user").url(f"ada:{WRONG}")}" }}')
    guarded.stop(guarded.run("--auth-user", "ada", env={"PANINI_AUTH_PASSWORD": PASSWORD}))


# ---- dev


def test_dev_needs_none_for_its_own_broker(guarded):
    guarded.write(f'auth = {{ token = "{TOKEN}" }}, tls = {{ ca_file = "missing.pem" }}')
    program = Program([PROGRAM, "dev", "guarded.lua"], cwd=guarded.folder, env=environment())
    guarded.programs.append(program)
    program.wait_for(r"\bready\b")
    assert program.output.count("auth and tls: not used") == 1, program.output
    guarded.stop(program)


def test_dev_uses_them_for_a_named_broker(servers, guarded):
    guarded.write(f'auth = {{ token = "{TOKEN}" }}')
    program = Program(
        [PROGRAM, "dev", "guarded.lua", "--server", servers("token").url()], cwd=guarded.folder, env=environment()
    )
    guarded.programs.append(program)
    program.wait_for(r"\bready\b")
    guarded.stop(program)


# ---- changed while the service runs


def test_a_changed_password_ends_the_service_when_its_time_is_over(guarded, secure_server):
    server = secure_server(BODIES["user"])
    program = guarded.run(
        "--server", server.url(), "--auth-user", "ada", "--reconnecting-time-sleep", "0.05", "--auth-retry", "0.5",
        env={"PANINI_AUTH_PASSWORD": PASSWORD},
    )  # fmt: skip
    server.reload(f'authorization {{ user: ada, password: "{NEW_PASSWORD}" }}')
    assert program.wait() == 1, program.output
    assert program.output.splitlines()[-1].startswith("panini: guarded: "), program.output
    guarded.silent(program.output)


def test_no_patience_ends_it_at_the_first_refusal(guarded, secure_server):
    server = secure_server(BODIES["token"])
    program = guarded.run("--server", server.url(), env={"PANINI_AUTH_TOKEN": TOKEN, "PANINI_AUTH_RETRY": "0"})
    server.reload(f'authorization {{ token: "{WRONG}" }}')
    assert program.wait() == 1, program.output


def test_a_rotation_of_passwords_takes_its_time(guarded, secure_server):
    """The broker has the new password first, and for a while the service is refused; then both agree again."""
    server = secure_server(BODIES["user"])
    program = guarded.run(
        "--server", server.url(), "--auth-user", "ada", "--reconnecting-time-sleep", "0.05",
        env={"PANINI_AUTH_PASSWORD": PASSWORD},
    )  # fmt: skip
    server.reload(f'authorization {{ user: ada, password: "{NEW_PASSWORD}" }}')
    # Both are tried often enough: twice was the end once.
    program.wait_for(r"\(attempt 4\)")
    server.reload(BODIES["user"])
    program.wait_for("connected to the broker again")
    warnings = [line for line in program.output.splitlines() if "no connection to the broker" in line and "WARNING" in line.upper()]
    assert len(warnings) <= 2, program.output
    asked = panini(
        "request", "guarded.ping", "{}", "--server", server.url(), "--auth-user", "ada", env={"PANINI_AUTH_PASSWORD": PASSWORD}
    )
    assert json.loads(asked.stdout) == {"pong": True}
    guarded.stop(program)


def test_a_rotation_of_a_credentials_file(guarded, secure_server):
    """The file is replaced late: attempts read it anew until it is the right one."""
    server = secure_server(BODIES["nkey"])
    program = guarded.run("--server", server.url(), "--auth-nkey-seed-file", "user.nk", "--reconnecting-time-sleep", "0.05")
    server.reload(f"authorization {{ users: [{{ nkey: {STRANGER.public} }}] }}")
    program.wait_for(r"\(attempt 3\)")
    (guarded.folder / "user.nk").write_text("half writ")
    program.wait_for("cannot use the nkey seed file")
    (guarded.folder / "user.nk").write_text(STRANGER.seed)
    program.wait_for("connected to the broker again")
    guarded.stop(program)


def test_renewed_files_are_used_by_the_next_reconnect(guarded, secure_server):
    server = secure_server(BODIES["nkey"])
    program = guarded.run(
        "--server", server.url(), "--auth-nkey-seed-file", "user.nk", "--reconnecting-time-sleep", "0.05"
    )
    (guarded.folder / "user.nk").write_text(STRANGER.seed)
    server.reload(f"authorization {{ users: [{{ nkey: {STRANGER.public} }}] }}")
    program.wait_for("connected to the broker again")
    guarded.stop(program)


def test_a_lost_broker_floods_no_log(guarded, secure_server):
    server = secure_server(BODIES["token"])
    program = guarded.run(
        "--server", server.url(), "--reconnecting-time-sleep", "0.01", "--max-reconnect-attempts", "6", env={"PANINI_AUTH_TOKEN": TOKEN}
    )
    server.program.signal(signal.SIGKILL)
    assert program.wait(2 * PATIENCE) == 1, program.output
    warnings = [line for line in program.output.splitlines() if "no connection to the broker" in line and "WARNING" in line.upper()]
    # One for each cause: the first attempt may still find the port open while the killed server's sockets are being closed.
    causes = [re.sub(r".*\(attempt \d+\): ", "", line) for line in warnings]
    assert causes and len(causes) == len(set(causes)), program.output
    assert "gave up" in program.output.splitlines()[-1], program.output


# ---- through pipes


def shell(guarded, command, *arguments, workers=1, env=None):
    """`panini run` below a shell, whose substitutions become pipes."""
    text = f"exec {PROGRAM} run guarded.lua --log-level debug --workers {workers} --reconnecting-time-sleep 0.05 {command}"
    program = Program(["bash", "-c", text, "bash", *arguments], cwd=guarded.folder, env=environment(**(env or {})))
    guarded.programs.append(program)
    program.wait_for(r"\bready\b")
    return program


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize(
    "kind, flags",
    [
        ("operator", "--auth-credentials-file <(cat user.creds)"),
        ("operator", "--auth-credentials-file <(sleep 0.2; head -c 300 user.creds; sleep 0.2; tail -c +301 user.creds)"),
        ("operator", "--auth-credentials-file /dev/stdin < <(cat user.creds)"),
        ("nkey", "--auth-nkey-seed-file /proc/self/fd/7 7< <(cat user.nk)"),
        ("token", f"--config <(echo '{{\"auth\": {{\"token\": \"{TOKEN}\"}}}}')"),
    ],
    ids=["credentials", "slow", "stdin", "nkey", "config"],
)
def test_secrets_through_a_pipe(servers, guarded, kind, flags, workers):
    """They are read once, for all workers, and used again by every later attempt."""
    server = SecureServer(guarded.folder, BODIES[kind]).start()
    try:
        program = shell(guarded, f"--server {server.url()} {flags}", workers=workers)
        server.stop()
        program.wait_for("is lost")
        server.start()
        program.wait_for("connected to the broker again")
        guarded.stop(program)
    finally:
        server.kill()


def test_a_client_command_takes_a_pipe(servers, guarded):
    url = servers("operator").url()
    program = Program(
        ["bash", "-c", f"{PROGRAM} publish a b --server {url} --auth-credentials-file <(cat user.creds)"],
        cwd=guarded.folder,
        env=environment(),
    )
    assert program.wait() == 0, program.output


def test_a_pipe_that_nobody_writes_to_is_an_error_in_time(servers, guarded):
    result = panini(
        "publish", "a", "b", "--server", servers("operator").url(), "--auth-credentials-file", "/dev/stdin",
        cwd=guarded.folder, stdin="", timeout=PATIENCE + 10,
    )  # fmt: skip
    assert result.returncode == 1 and len(result.stderr.strip().splitlines()) == 1, result
    assert "/dev/stdin" in result.stderr, result.stderr
