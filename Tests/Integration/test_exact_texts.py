"""What decides is bytes: texts that look the same, or whose characters hide a separator, are other texts."""

import json
import os
import unicodedata
import urllib.error
import urllib.request

import pytest

from harness import Client, panini
from test_bridge import Viewer
from test_http import WEB
from test_websocket import Sockets, quick, sockets  # noqa: F401  the fixtures

NFC = unicodedata.normalize("NFC", "é")
NFD = unicodedata.normalize("NFD", "é")
KELVIN = "\u212a"  # Canonically a "K", in lower case a "k".

# A dot before or behind these makes one character with it, and is a dot all the same.
JOINERS = {"combining": ".\u0301x", "prepend": "\u0600.x", "keycap": ".\u20e3x", "joiner": ".\u200dx", "tag": ".\U000e0067x"}


def lua(text):
    return '"' + "".join(f"\\u{{{ord(c):x}}}" for c in text) + '"'


@pytest.mark.parametrize("kind", JOINERS)
def test_a_separator_beside_a_joining_sign_is_one(check, kind):
    subject = "plugin.x" + JOINERS[kind]
    for listen in (f"app.listen({lua(subject)}, function() end)", f"app.listen({lua(subject + '.>')}, function() end)"):
        result = check(listen, "--untrusted", "--allow-listen", "plugin.*")
        assert result.returncode == 1 and "may not listen to" in result.stderr, listen
        assert check(listen, "--untrusted", "--allow-listen", "plugin.>").returncode == 0
    bridge = f'app.http.nats_bridge("/p", {{ allow = {{ {lua(subject)} }} }})'
    result = check(bridge, "--untrusted", "--allow-listen", "plugin.*", options="web_server = true")
    assert result.returncode == 1 and "may not listen to" in result.stderr


def test_sends_are_compared_byte_by_byte(service, client):
    subjects = [f"plugin.x{text}" for text in JOINERS.values()] + [f"plugin.{NFD}", "plugin.K", "plugin.a", f"plugin.{NFC}", f"plugin.{KELVIN}"]
    service(
        """
        app.listen("send", function(msg)
            local done, err = app.publish(msg.data.subject, "x")
            local answer, refusal = app.request(msg.data.subject, "x", { timeout = 0.05 })
            return { done = done or false, code = err and err.code, request = refusal and refusal.code }
        end)
        """,
        arguments=[
            "--untrusted", "--allow-listen", "send", "--allow-publish", "plugin.a", "--allow-publish", f"plugin.{NFC}",
            "--allow-publish", f"plugin.{KELVIN}", "--allow-publish", "other.*",
        ],
    )
    allowed = {"plugin.a", f"plugin.{NFC}", f"plugin.{KELVIN}"}
    for subject in subjects:
        answer = client.ask("send", {"subject": subject})
        assert (answer.get("code") == "denied") == (subject not in allowed), (subject, answer)
        assert (answer.get("request") == "denied") == (subject not in allowed), (subject, answer)
    # `other.*` allows one token.
    for text in JOINERS.values():
        assert client.ask("send", {"subject": f"other.x{text}"})["code"] == "denied"


@pytest.mark.parametrize("asked, allowed", [(NFD, NFC), (NFC, NFD), ("K", KELVIN), (KELVIN, "K")])
def test_equal_looks_are_no_permission(check, tmp_path, asked, allowed):
    def refused(script, *arguments, options=""):
        result = check(script, "--untrusted", *arguments, options=options)
        assert result.returncode == 1 and "may not" in result.stderr, result
        return True

    refused(f"app.listen({lua('a.' + asked)}, function() end)", "--allow-listen", f"a.{allowed}")
    refused(f"panini.env({lua(asked)})", "--allow-env", allowed)
    for name in (asked, allowed):
        (tmp_path / f"public{name}").mkdir()
        (tmp_path / f"public{name}" / "x.txt").write_text(name)
    refused(
        f'app.http.static("/files", {lua("public" + asked)})', "--allow-read", tmp_path / f"public{allowed}", options="web_server = true"
    )
    # Who is trusted is named by the bytes of a name, too.
    text = 'local app = panini.app{ service_name = "x" }\nassert(io.open("made.txt", "w"))\n'
    (tmp_path / f"{asked}.lua").write_text(text)
    assert panini("check", f"{asked}.lua", f"--trust={allowed}", cwd=tmp_path).returncode == 1
    assert panini("check", f"{asked}.lua", f"--trust={asked}", cwd=tmp_path).returncode == 0
    # And who is not: a script that is named must not be an ordinary one because of a name that looks the same.
    (tmp_path / f"{asked}.lua").write_text('local app = panini.app{ service_name = "x" }\nassert(panini.env("PATH"))\n')
    assert panini("check", f"{asked}.lua", f"--untrusted={allowed}", cwd=tmp_path).returncode == 2
    assert panini("check", f"{asked}.lua", f"--untrusted={asked}", cwd=tmp_path).returncode == 1


def test_a_folder_whose_name_ends_with_a_joining_sign(check, tmp_path):
    """The last part of such a path is its name all the same."""
    folder = "scripts\u0600"
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "named.lua").write_text('local app = panini.app{ service_name = "x" }\nassert(panini.env("PATH"))\n')
    assert panini("check", f"{folder}/named.lua", "--untrusted=named", cwd=tmp_path).returncode == 1
    assert panini("check", f"{folder}/named.lua", cwd=tmp_path).returncode == 0


def test_names_of_log_files_lead_out_of_no_folder(check, tmp_path):
    for name in ("../x.log", "..\u002f\u0301x.log", "a/..\u002f\u0301/../x.log"):
        files = {"config/log_config.json": json.dumps({"handlers": {"file": {"filename": name}}, "root": {"handlers": ["file"]}})}
        result = check("", files=files)
        assert result.returncode != 0 and "leaves the folder" in result.stderr, result


def test_hosts_fold_no_letters_beyond_ascii(service, client):
    service(
        """
        app.listen("ask", function(msg)
            local answer, err = app.http.fetch(msg.data.url, { timeout = 0.2 })
            return { code = err and err.code }
        end)
        """,
        arguments=["--untrusted", "--allow-listen", "ask", "--allow-net", f"{KELVIN}.invalid", "--allow-net", "ALLOWED.invalid"],
    )
    assert client.ask("ask", {"url": "http://k.invalid/"})["code"] == "denied"
    assert client.ask("ask", {"url": "http://allowed.invalid/"})["code"] != "denied"


def test_listeners_of_subjects_that_look_the_same_are_two(service, client):
    script = f"""
        local one = app.listen({lua(NFC)}, function() return "composed" end)
        local two = app.listen({lua(NFD)}, function() return "decomposed" end)
        app.listen("K", function() return "K" end)
        app.listen({lua(KELVIN)}, function() return "Kelvin" end)
        app.listen("end", function() one.unsubscribe() return {{}} end)
    """
    running = service(script)
    assert "two listeners" not in running.output

    def answers():
        return [client.request(subject).payload for subject in (NFC, NFD, "K", KELVIN)]

    assert answers() == [b"composed", b"decomposed", b"K", b"Kelvin"]
    # A reload takes each subscription over to the listener that is its own, in whichever order they stand.
    lines = running.path.read_text().split("\n")
    running.path.write_text("\n".join([lines[0], *reversed(lines[1:5]), *lines[5:]]).replace("local one = ", "one = "))
    assert panini("reload", cwd=running.path.parent).returncode == 0
    assert answers() == [b"composed", b"decomposed", b"K", b"Kelvin"]
    client.ask("end")
    assert client.request(NFD).payload == b"decomposed"


def test_bridges_keep_subjects_that_look_the_same_apart(sockets, client):
    web, _ = sockets(
        f"""
        app.http.nats_bridge("/one", {{ allow = {{ {lua("a." + NFC)} }} }})
        app.http.nats_bridge("/two", {{ allow = {{ {lua("a." + NFD)} }} }})
        """
    )
    with Viewer(web, "/two") as two, Viewer(web, "/one") as one:
        two.subscribe(f"a.{NFD}")
        one.subscribe(f"a.{NFC}")
        one.refused(f"a.{NFD}")
        client.publish(f"a.{NFD}", b"1")
        client.publish(f"a.{NFC}", b"2")
        client.flush()
        assert one.next() == {"subject": f"a.{NFC}", "data": 2}
        assert two.next() == {"subject": f"a.{NFD}", "data": 1}
        one.nothing_came()
        two.nothing_came()


def test_origins_that_look_the_same_are_others(quick):
    web, _ = quick(
        f"""
        app.add_middleware(panini.middleware.cors{{ origins = {{ {lua("https://" + NFC + ".example")} }} }})
        app.http.get("/x", function() return {{}} end)
        app.http.websocket("/k", {{ origins = {{ "https://k.example" }} }}, function(ws) for _ in ws:messages() do end end)
        """
    )

    def status(origin):
        with web.raw("/k", headers=[f"Origin: {origin}"]) as ws:
            return ws.handshake.status

    assert status("https://K.EXAMPLE") == 101
    assert status(f"https://{KELVIN}.example") == 403

    def allowed(origin):
        request = urllib.request.Request(f"http://127.0.0.1:{web.port}/x")
        request.add_unredirected_header("Origin", origin.encode().decode("latin-1"))
        with urllib.request.urlopen(request) as answer:
            return answer.headers.get("access-control-allow-origin") is not None

    assert allowed(f"https://{NFC}.example")
    assert not allowed(f"https://{NFD}.example")


def test_links_into_a_folder_that_looks_like_the_own_are_refused(quick, tmp_path):
    own, other = tmp_path / f"pub{NFC}", tmp_path / f"pub{NFD}"
    for folder in (own, other):
        folder.mkdir()
        (folder / "x.txt").write_text(os.fsencode(folder.name).hex())
    (own / "link.txt").symlink_to(other / "x.txt")
    web, _ = quick(f"app.http.static('/files', {json.dumps(str(own), ensure_ascii=False)})")

    def get(path):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{web.port}{path}") as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code

    assert get("/files/x.txt") == 200
    assert get("/files/link.txt") == 404


def test_credentials_behind_a_joining_sign_are_not_shown(check):
    """The @ before a combining sign ends the credentials, as every other."""
    secret = "s3cr3t-of-the-test"
    for address in (f"nats://user:{secret}@\u0301host:4222", f"nats://user:{secret}@\u0301host:x", f"{secret}@\u0301:1:2:3"):
        result = panini("publish", "x", "y", "--server", address)
        assert result.returncode != 0
        assert secret not in result.stderr + result.stdout, address
        result = check("", "--server", address)
        assert secret not in result.stderr + result.stdout, address
