"""Servers that want something: credentials of each kind, TLS, WebSocket. And what belongs to them: certificates made
with openssl, nkeys and JWTs made here, so that no secret lies in the repository."""

import base64
import json
import os
import signal
import subprocess
import time

import nkeys

from harness import NATS_SERVER, PATIENCE, PROGRAM, Program, environment, free_port, panini, wait_until

SCRIPT = """
local app = panini.app{ service_name = "guarded"%s }
app.listen("guarded.ping", function(msg) return { pong = true } end)
"""


class SecureServer:
    """nats-server with a configuration of the test's own; the port is kept over restarts."""

    def __init__(self, folder, body, websocket=None):
        self.port = free_port()
        self.websocket_port = free_port()
        self.path = folder / f"server-{self.port}.conf"
        self.websocket = websocket
        self.write(body)
        self.program = None

    def write(self, body):
        text = f'listen: "127.0.0.1:{self.port}"\n{body}\n'
        if self.websocket is not None:
            text += f'websocket {{ listen: "127.0.0.1:{self.websocket_port}", {self.websocket} }}\n'
        self.path.write_text(text)

    def start(self):
        self.program = Program([NATS_SERVER, "-c", self.path])
        try:
            self.program.wait_for(r"Server is ready")
        except AssertionError:
            self.program.kill()
            raise
        return self

    def reload(self, body):
        """Another configuration while it runs."""
        self.write(body)
        seen = self.program.output.count("Reloaded server configuration")
        self.program.signal(signal.SIGHUP)
        wait_until(
            lambda: self.program.output.count("Reloaded server configuration") > seen,
            f"the server has taken the new configuration: {self.program.output}",
        )

    def url(self, userinfo="", scheme="nats", host="127.0.0.1"):
        port = self.websocket_port if scheme in ("ws", "wss") else self.port
        return f"{scheme}://{userinfo + '@' if userinfo else ''}{host}:{port}"

    def stop(self):
        self.program.signal(signal.SIGTERM)
        self.program.wait()

    def kill(self):
        if self.program:
            self.program.kill()


class Guarded:
    """A service of a test, started with options from wherever the test wants them."""

    def __init__(self, folder, secrets=()):
        self.folder = folder
        self.secrets = [s for s in secrets if s]
        self.programs = []

    def write(self, options="", name="guarded.lua"):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(SCRIPT % (f", {options}" if options else ""))
        return path

    def run(self, *arguments, env=None, cwd=None, script="guarded.lua"):
        """A service that gets ready; its log is as talkative as it can be."""
        program = Program(
            [PROGRAM, "run", self.folder / script, "--log-level", "debug", *map(str, arguments)],
            cwd=cwd or self.folder,
            env=environment(**(env or {})),
        )
        self.programs.append(program)
        program.wait_for(r"\bready\b")
        return program

    def works(self, *arguments, env=None, cwd=None, client=None, script="guarded.lua"):
        """Runs the service, asks it something with a client command, and stops it."""
        program = self.run(*arguments, env=env, cwd=cwd, script=script)
        asked = panini("request", "guarded.ping", "{}", *(arguments if client is None else client), env=env, cwd=cwd or self.folder)
        assert asked.returncode == 0, (asked.stderr, program.output)
        assert json.loads(asked.stdout) == {"pong": True}
        self.silent(asked.stdout + asked.stderr)
        self.stop(program)
        return program.output

    def stop(self, program):
        program.signal(signal.SIGTERM)
        assert program.wait() == 0, program.output
        self.silent(program.output)

    def refused(self, *arguments, env=None, code=1, words=(), cwd=None, script="guarded.lua", client=True):
        """The service ends at once, with one line, although it is told to wait for a broker by default."""
        started = time.monotonic()
        result = panini(
            "run", self.folder / script, "--log-level", "debug", *arguments, env=env, cwd=cwd or self.folder, timeout=PATIENCE
        )
        assert time.monotonic() - started < PATIENCE
        self._refusal(result, code, words)
        assert "trying again" not in result.stdout, result.stdout
        if client:
            asked = panini("request", "guarded.ping", "{}", *arguments, env=env, cwd=cwd or self.folder, timeout=PATIENCE)
            self._refusal(asked, code, words)
        return result.stderr

    def _refusal(self, result, code, words):
        assert result.returncode == code, (result.returncode, result.stdout, result.stderr)
        assert len(result.stderr.strip().splitlines()) == 1, result.stderr
        assert "Fatal error" not in result.stderr
        for word in words:
            assert word in result.stderr, result.stderr
        self.silent(result.stdout + result.stderr)

    def silent(self, text):
        for secret in self.secrets:
            assert secret not in text, f"a secret is in the output:\n{text}"

    def close(self):
        for program in self.programs:
            program.kill()
            self.silent(program.output)


# ---- nkeys and JWTs


class Key:
    """An nkey pair as texts."""

    def __init__(self, prefix):
        self.seed = nkeys.encode_seed(os.urandom(32), prefix).decode()
        self.pair = nkeys.from_seed(self.seed.encode())
        self.public = self.pair.public_key.decode()


def user_key():
    return Key(nkeys.PREFIX_BYTE_USER)


class Operator:
    """An operator with one account, and users of it."""

    def __init__(self):
        self.key = Key(nkeys.PREFIX_BYTE_OPERATOR)
        self.account = Key(nkeys.PREFIX_BYTE_ACCOUNT)
        unlimited = {"subs": -1, "data": -1, "payload": -1, "conn": -1, "leaf": -1, "imports": -1, "exports": -1, "wildcards": True}
        self.account_jwt = jwt(self.key, self.account.public, "app", {"limits": unlimited, "type": "account", "version": 2})
        self.jwt = jwt(self.key, self.key.public, "op", {"type": "operator", "version": 2})

    def configuration(self):
        return (
            f'operator: "{self.jwt}"\nresolver: MEMORY\n'
            f'resolver_preload: {{ {self.account.public}: "{self.account_jwt}" }}\n'
        )

    def credentials(self, seed=None):
        """The text of a credentials file for a new user; with another seed than the user's it is a wrong one."""
        user = user_key()
        claims = {"pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1, "type": "user", "version": 2}
        token = jwt(self.account, user.public, "user", claims)
        return (
            f"-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n"
            "************************* IMPORTANT *************************\n"
            "NKEY Seed printed below can be used to sign and prove identity.\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{seed or user.seed}\n------END USER NKEY SEED------\n"
        )


def secrets_of(credentials):
    """The lines of a credentials file that nobody may see."""
    return [line for line in credentials.splitlines() if line.startswith(("ey", "SU"))]


def jwt(signer, subject, name, nats):
    claims = {"jti": os.urandom(16).hex(), "iat": int(time.time()), "iss": signer.public, "name": name, "sub": subject, "nats": nats}
    text = f"{_part({'typ': 'JWT', 'alg': 'ed25519-nkey'})}.{_part(claims)}"
    return f"{text}.{_base64(signer.pair.sign(text.encode()))}"


def _part(value):
    return _base64(json.dumps(value, separators=(",", ":")).encode())


def _base64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


# ---- certificates


class Certificates:
    """A certificate authority in a folder, and certificates of it."""

    def __init__(self, folder, name="ca"):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.ca = folder / f"{name}.pem"
        self.ca_key = folder / f"{name}-key.pem"
        _openssl(
            "req", "-x509", *NEW_KEY, "-keyout", self.ca_key, "-out", self.ca, "-days", "30", "-subj", f"/CN={name} of the tests",
            "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
        )  # fmt: skip

    def issue(self, name, alternatives, usage):
        """Certificate and key for `name`, as a pair of paths."""
        certificate, key, request = (self.folder / f"{name}{end}" for end in (".pem", "-key.pem", ".csr"))
        extensions = self.folder / f"{name}.ext"
        extensions.write_text(
            f"subjectAltName={alternatives}\nextendedKeyUsage={usage}\nbasicConstraints=CA:FALSE\nkeyUsage=digitalSignature\n"
        )
        _openssl("req", *NEW_KEY, "-keyout", key, "-out", request, "-subj", f"/CN={name}")
        _openssl(
            "x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self.ca_key, "-CAcreateserial", "-out", certificate,
            "-days", "30", "-extfile", extensions,
        )  # fmt: skip
        return certificate, key


NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def _openssl(*arguments):
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
