"""TLS and WebSocket: what encrypts, what is verified, and that what cannot be verified ends the program at once."""

import json

import pytest

from harness import panini
from secure import Certificates, Guarded, SecureServer

TOKEN = "s3cr3t-t0ken-value"


class Material:
    """Certificates for the whole module."""

    def __init__(self, folder):
        authority = Certificates(folder, "ca")
        self.ca = authority.ca
        self.server = authority.issue("localhost", "DNS:localhost,IP:127.0.0.1", "serverAuth")
        self.elsewhere = authority.issue("elsewhere", "DNS:elsewhere.example", "serverAuth")
        self.client = authority.issue("client", "DNS:client.example", "clientAuth")
        other = Certificates(folder / "other", "other-ca")
        self.other_ca = other.ca
        self.other_client = other.issue("other-client", "DNS:client.example", "clientAuth")

    def tls(self, pair=None, more=""):
        certificate, key = pair or self.server
        return f'tls {{ cert_file: "{certificate}", key_file: "{key}", {more} }}'


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    return Material(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def servers(material, tmp_path_factory):
    """One server of each kind, started when it is first wanted."""
    folder = tmp_path_factory.mktemp("servers")
    kinds = {
        "plain": ("", None),
        "tls": (material.tls(), None),
        "elsewhere": (material.tls(material.elsewhere), None),
        "mutual": (material.tls(more=f'ca_file: "{material.ca}", verify: true'), None),
        "first": (material.tls(more="handshake_first: true"), None),
        "token": (material.tls() + f'\nauthorization {{ token: "{TOKEN}" }}', None),
        "ws": (f'authorization {{ token: "{TOKEN}" }}', "no_tls: true"),
        "wss": ("", material.tls()),
    }
    running = {}

    def get(kind):
        if kind not in running:
            running[kind] = SecureServer(folder, *kinds[kind]).start()
        return running[kind]

    yield get
    for server in running.values():
        server.stop()


@pytest.fixture
def guarded(tmp_path, material):
    keys = [path.read_text().splitlines()[1] for _, path in (material.client, material.other_client)]
    instance = Guarded(tmp_path, [TOKEN, *keys])
    instance.write()
    yield instance
    instance.close()


# ---- what works


@pytest.mark.parametrize("scheme", ["nats", "tls"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_trusted_certificate(servers, guarded, material, scheme, host):
    guarded.works("--server", servers("tls").url(scheme=scheme, host=host), "--tls-ca-file", material.ca)


def test_without_verification(servers, guarded):
    guarded.works("--server", servers("tls").url(scheme="tls"), "--no-tls-verify")
    guarded.works("--server", servers("elsewhere").url(), env={"PANINI_TLS_VERIFY": "false"})


def test_a_certificate_of_its_own(servers, guarded, material):
    certificate, key = material.client
    guarded.works(
        "--server", servers("mutual").url(), "--tls-ca-file", material.ca, "--tls-cert-file", certificate, "--tls-key-file", key
    )


def test_tls_first(servers, guarded, material):
    guarded.works("--server", servers("first").url(), "--tls-ca-file", material.ca, "--tls-first")


def test_with_credentials(servers, guarded, material):
    guarded.works(
        "--server", servers("token").url(scheme="tls"), env={"PANINI_AUTH_TOKEN": TOKEN, "PANINI_TLS_CA_FILE": str(material.ca)}
    )
    guarded.works("--server", servers("token").url(TOKEN, scheme="tls"), "--tls-ca-file", material.ca)


def test_in_the_script(servers, guarded, material):
    """The path is relative to the script, wherever the program runs."""
    (guarded.folder / "certs").mkdir()
    (guarded.folder / "certs" / "ca.pem").write_text(material.ca.read_text())
    (guarded.folder / "elsewhere").mkdir()
    guarded.write(f'servers = {{ "{servers("tls").url(scheme="tls")}" }}, tls = {{ ca_file = "certs/ca.pem" }}')
    guarded.stop(guarded.run(cwd=guarded.folder / "elsewhere"))


def test_in_a_configuration_file(servers, guarded, material):
    """The path is relative to the file, wherever the program runs."""
    (guarded.folder / "etc").mkdir()
    (guarded.folder / "etc" / "ca.pem").write_text(material.ca.read_text())
    config = guarded.folder / "etc" / "guarded.json"
    config.write_text(json.dumps({"servers": [servers("tls").url()], "tls": {"ca_file": "ca.pem"}}))
    guarded.stop(guarded.run("--config", config))


def test_relative_to_the_current_directory(servers, guarded, material):
    (guarded.folder / "mine.pem").write_text(material.ca.read_text())
    guarded.works("--server", servers("tls").url(), "--tls-ca-file", "mine.pem")


def test_websocket(servers, guarded):
    guarded.works("--server", servers("ws").url(TOKEN, scheme="ws"))
    guarded.works("--server", servers("ws").url(scheme="ws"), env={"PANINI_AUTH_TOKEN": TOKEN})


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_websocket_over_tls(servers, guarded, material, host):
    guarded.works("--server", servers("wss").url(scheme="wss", host=host), "--tls-ca-file", material.ca)


def test_websocket_over_tls_without_verification(servers, guarded):
    guarded.works("--server", servers("wss").url(scheme="wss"), "--no-tls-verify")


def test_large_messages(servers, guarded, material):
    """More than one TLS record and one WebSocket frame, both ways."""
    guarded.folder.joinpath("echo.lua").write_text(
        'local app = panini.app{ service_name = "guarded" }\n'
        'app.listen("guarded.echo", { data_type = "bytes" }, function(msg) return msg.data end)\n'
    )
    payload = "0123456789abcdef" * 50_000
    for kind, scheme in (("tls", "tls"), ("wss", "wss")):
        arguments = ["--server", servers(kind).url(scheme=scheme), "--tls-ca-file", material.ca]
        program = guarded.run(*arguments, script="echo.lua")
        answer = panini("request", "guarded.echo", "-", *arguments, stdin=payload)
        assert answer.returncode == 0, answer.stderr
        assert answer.stdout.rstrip("\n") == payload
        guarded.stop(program)


# ---- what is refused


@pytest.mark.parametrize(
    "kind, scheme, options, words",
    [
        ("tls", "tls", ["--tls-ca-file", "{other_ca}"], []),
        ("tls", "nats", ["--tls-ca-file", "{other_ca}"], []),
        ("tls", "tls", [], []),
        ("tls", "nats", [], []),
        ("elsewhere", "tls", ["--tls-ca-file", "{ca}"], []),
        ("plain", "tls", ["--tls-ca-file", "{ca}"], ["tls:// asks", "turn TLS on at the server"]),
        ("plain", "nats", ["--tls-ca-file", "{ca}"], ["the TLS settings ask", "turn TLS on at the server"]),
        ("plain", "nats", ["--no-tls-verify"], ["the TLS settings ask", "turn TLS on at the server"]),
        ("plain", "ws", ["--tls-ca-file", "{ca}"], ["use wss://"]),
        ("mutual", "tls", ["--tls-ca-file", "{ca}"], []),
        ("mutual", "tls", ["--tls-ca-file", "{ca}", "--tls-cert-file", "{other_client[0]}", "--tls-key-file", "{other_client[1]}"], []),
        ("first", "tls", ["--tls-ca-file", "{other_ca}", "--tls-first"], []),
        ("wss", "wss", ["--tls-ca-file", "{other_ca}"], []),
        ("wss", "wss", [], []),
        ("tls", "tls", ["--tls-ca-file", "missing.pem"], ["missing.pem"]),
        ("tls", "tls", ["--tls-ca-file", "guarded.lua"], ["guarded.lua"]),
        ("mutual", "tls", ["--tls-ca-file", "{ca}", "--tls-cert-file", "{client[0]}", "--tls-key-file", "missing.pem"], ["missing.pem"]),
        ("mutual", "tls", ["--tls-ca-file", "{ca}", "--tls-cert-file", "{client[0]}", "--tls-key-file", "{other_client[1]}"], []),
    ],
)
def test_what_cannot_be_verified_ends_at_once(servers, guarded, material, kind, scheme, options, words):
    options = [option.format(**vars(material)) for option in options]
    url = servers(kind).url(scheme=scheme)
    guarded.refused("--server", url, *options, words=words)


def test_a_wrong_token_behind_tls(servers, guarded, material):
    guarded.secrets.append("wr0ng-token")
    guarded.refused(
        "--server", servers("token").url("wr0ng-token", scheme="tls"), "--tls-ca-file", material.ca, words=["Authorization Violation"]
    )


def test_a_wrong_token_over_websocket(servers, guarded):
    guarded.secrets.append("wr0ng-token")
    guarded.refused("--server", servers("ws").url("wr0ng-token", scheme="ws"), words=["Authorization Violation"])


def test_the_wrong_kind_of_port(servers, guarded):
    """A NATS port that is spoken to as WebSocket answers nonsense: no broker, in one line and in time."""
    url = f"ws://127.0.0.1:{servers('plain').port}"
    guarded.refused("--server", url, "--no-retry-on-start", "--connect-timeout", "2", words=[url], client=False)
