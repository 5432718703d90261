"""The NATS services protocol (ADR-32): who is there, what it offers, how it does."""

import json
import re
import signal

import pytest

from harness import Client, NoResponders, assert_error, wait_until

COMMON = {"type": str, "name": str, "id": str, "version": str, "metadata": dict}
INFO = COMMON | {"description": str, "endpoints": list}
INFO_ENDPOINT = {"name": str, "subject": str, "queue_group": str, "metadata": dict}
STATS = COMMON | {"started": str, "endpoints": list}
STATS_ENDPOINT = {
    "name": str,
    "subject": str,
    "queue_group": str,
    "num_requests": int,
    "num_errors": int,
    "last_error": str,
    "processing_time": int,
    "average_processing_time": int,
}

SERVICE = """
    app.listen("orders.create", { name = "create", metadata = { tier = "one" } }, function(msg) return { ok = true } end)
    app.listen({ "orders.*.paid", "audit.>" }, { queue = "auditors" }, function(msg)
        if msg.data.fail then error{ code = 404, message = "no such order" } end
        if msg.data.sleep then app.sleep(msg.data.sleep) end
        if msg.data.early then msg.respond({ early = true }) app.sleep(0.3) return end
        return { ok = true }
    end)
    app.listen("watched", { reply = false }, function(msg) end)
"""
OPTIONS = 'version = "1.2.3", description = "takes orders", metadata = { team = "shop" },'


def ask(client, verb, *rest):
    return client.request(".".join(["$SRV", verb, *rest])).json


def check(document, fields, endpoint=None):
    assert {name: type(value) for name, value in document.items()} == fields
    assert re.fullmatch(r"[A-Za-z0-9_-]+", document["name"])
    for entry in document.get("endpoints", []):
        assert {name: type(value) for name, value in entry.items()} == endpoint
        assert re.fullmatch(r"[A-Za-z0-9_-]+", entry["name"])


def endpoint(client, name, service="test"):
    return next(e for e in ask(client, "STATS", service)["endpoints"] if e["name"] == name)


def said(service, text, times):
    """Waits until the console has shown something so often, and no oftener."""
    wait_until(lambda: service.output.count(text) >= times, f"{text!r} {times} times")
    assert service.output.count(text) == times, service.output


def test_three_questions_at_three_levels(service, client):
    service(SERVICE, options=OPTIONS)
    ping = ask(client, "PING")
    check(ping, COMMON)
    assert ping["type"] == "io.nats.micro.v1.ping_response"
    assert (ping["name"], ping["version"], ping["metadata"]) == ("test", "1.2.3", {"team": "shop"})
    for rest in [("test",), ("test", ping["id"])]:
        assert ask(client, "PING", *rest) == ping
    info = ask(client, "INFO")
    check(info, INFO, INFO_ENDPOINT)
    assert info["type"] == "io.nats.micro.v1.info_response"
    assert info["description"] == "takes orders"
    assert info["endpoints"] == [
        {"name": "create", "subject": "orders.create", "queue_group": "", "metadata": {"tier": "one"}},
        {"name": "orders_any_paid", "subject": "orders.*.paid", "queue_group": "auditors", "metadata": {}},
        {"name": "audit_all", "subject": "audit.>", "queue_group": "auditors", "metadata": {}},
    ]
    for rest in [("test",), ("test", ping["id"])]:
        assert ask(client, "INFO", *rest) == info
    stats = ask(client, "STATS")
    check(stats, STATS, STATS_ENDPOINT)
    assert stats["type"] == "io.nats.micro.v1.stats_response"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", stats["started"])
    for rest in [("test",), ("test", ping["id"])]:
        assert ask(client, "STATS", *rest) == stats


def test_another_name_or_id_is_not_answered(service, client):
    service(SERVICE)
    for rest in [("other",), ("TEST",), ("test", "other")]:
        with pytest.raises(NoResponders):
            client.request(".".join(["$SRV", "PING", *rest]), timeout=0.5)


def test_counts(service, client):
    service(SERVICE)
    for _ in range(3):
        assert client.ask("orders.create", {}) == {"ok": True}
    client.publish("orders.create", b"{}")
    client.flush()
    create = endpoint(client, "create")
    assert (create["num_requests"], create["num_errors"], create["last_error"]) == (3, 0, "")
    assert create["processing_time"] > 0
    assert create["average_processing_time"] == create["processing_time"] // 3
    assert_error(client.request("orders.7.paid", b'{"fail":true}'), 404, "no such order")
    assert_error(client.request("orders.7.paid", b"{"), 400)
    paid = endpoint(client, "orders_any_paid")
    assert (paid["num_requests"], paid["num_errors"]) == (2, 2)
    assert paid["last_error"].startswith("400:")


def test_time_is_measured_to_the_reply(service, client):
    service(SERVICE)
    client.request("orders.7.paid", json.dumps({"sleep": 0.2}).encode())
    assert 200e6 <= endpoint(client, "orders_any_paid")["processing_time"] < 2e9
    client.request("audit.x", b'{"early":true}')
    assert endpoint(client, "audit_all")["processing_time"] < 200e6


def test_overload_is_an_error(service, client, gate):
    service(
        """
        app.listen("narrow", { concurrency = 1, queue = false }, function(msg) return app.request("gate", {}) end)
        """,
        options="pending_limit = 1,",
    )
    inbox = client.collect("narrow", [b"{}", b"{}", b"{}"])
    held = gate.arrived()
    first = endpoint(client, "narrow")
    assert (first["num_requests"], first["num_errors"]) == (3, 1)
    assert first["last_error"].startswith("429:")
    gate.open(held)
    gate.open(gate.arrived())


def test_every_error_reply_is_counted_and_nothing_else(service, client):
    service("""
        app.listen("broken", function(msg) return nil + 1 end)
        app.listen("slow", { timeout = 0.1 }, function(msg) app.sleep(60) return 1 end)
        app.listen("unsendable", function(msg) return print end)
        app.listen("late", function(msg) msg.respond(1) error("after the reply") end)
        app.listen("silent", function(msg) end)
    """)
    for subject in ("broken", "slow", "unsendable", "late"):
        client.request(subject)
    client.publish("silent", reply="nobody")
    client.flush()
    counted = {e["name"]: e for e in ask(client, "STATS")["endpoints"]}
    assert {name: (e["num_requests"], e["num_errors"]) for name, e in counted.items()} == {
        "broken": (1, 1), "slow": (1, 1), "unsendable": (1, 1), "late": (1, 0), "silent": (1, 0),
    }
    assert counted["broken"]["last_error"] == "500:internal error"
    assert counted["slow"]["last_error"].startswith("504:")
    assert counted["slow"]["processing_time"] >= 100e6
    assert counted["silent"]["processing_time"] == 0


def test_long_errors_do_not_silence_the_statistics(service, client):
    service("""
        for _, name in ipairs{ "one", "two" } do
            app.listen(name, function(msg) return nil, { code = 404, message = string.rep("é", 300000) } end)
        end
    """)
    for subject in ("one", "two"):
        assert_error(client.request(subject), 404)
    assert [e["last_error"] for e in ask(client, "STATS")["endpoints"]] == ["404:" + "é" * 256] * 2


def test_errors_of_a_scripts_own_headers_are_counted(service, client):
    service("""
        app.listen("own", function(msg)
            msg.respond({ no = "stock" }, { headers = {
                ["Nats-Service-Error-Code"] = 409, ["Nats-Service-Error"] = "out of stock",
            } })
        end)
        app.listen("code", function(msg) msg.respond("", { headers = { ["Nats-Service-Error-Code"] = "417" } }) end)
        app.listen("text", function(msg) msg.respond("", { headers = { ["Nats-Service-Error"] = string.rep("y", 600) } }) end)
        app.listen("plain", function(msg) msg.respond("", { headers = { ["Nats-Service-Version"] = "1" } }) end)
    """)
    for subject in ("own", "code", "text", "plain"):
        client.request(subject)
    counted = {e["name"]: (e["num_requests"], e["num_errors"], e["last_error"]) for e in ask(client, "STATS")["endpoints"]}
    assert counted == {
        "own": (1, 1, "409:out of stock"), "code": (1, 1, "417:"), "text": (1, 1, "0:" + "y" * 512), "plain": (1, 0, ""),
    }


def test_off(service, client):
    service(SERVICE, options="services = false,")
    with pytest.raises(NoResponders):
        client.request("$SRV.PING.test", timeout=0.5)
    assert client.ask("orders.create", {}) == {"ok": True}


def test_dynamic_listeners_come_and_go(service, client):
    service("""
        app.listen("fixed", function(msg) return 1 end)
        local handle
        app.listen("control", { name = "fixed" }, function(msg)
            if msg.data then
                handle = app.listen("late", function() return 2 end)
            else
                handle.unsubscribe()
            end
            return true
        end)
    """)
    assert [e["name"] for e in ask(client, "INFO")["endpoints"]] == ["fixed", "fixed-2"]
    client.request("control", b"true")
    assert [e["name"] for e in ask(client, "INFO")["endpoints"]] == ["fixed", "fixed-2", "late"]
    client.request("control", b"false")
    assert [e["name"] for e in ask(client, "INFO")["endpoints"]] == ["fixed", "fixed-2"]


def test_instances_have_ids_of_their_own(service, client):
    for name in ("one", "two"):
        service('app.listen("pair", { queue = "pair" }, function() return 1 end)', name=name)
    first, second = ask(client, "PING", "one"), ask(client, "PING", "two")
    assert first["id"] != second["id"]
    assert ask(client, "PING", "two", second["id"]) == second


def test_instances_of_one_service_answer_each_for_itself(service, client):
    for _ in range(2):
        service('app.listen("pair", { queue = "pair" }, function() return 1 end)')
    answers = client.subscribe("answers")
    for _ in range(10):
        client.ask("pair")
    client.publish("$SRV.STATS.test", reply="answers")
    first, second = (answer.json for answer in answers.take(2))
    assert first["id"] != second["id"]
    assert sum(s["endpoints"][0]["num_requests"] for s in (first, second)) == 10


def test_a_stopping_service_is_not_found_and_drops_no_question(service, client, gate):
    instance = service('app.listen("held", function(msg) return app.request("gate", {}) end)')
    inbox = client.collect("held", [b"{}"])[0]
    held = gate.arrived()
    instance.signal(signal.SIGTERM)

    def is_gone():
        try:
            ask(client, "PING", "test")
        except NoResponders:
            return True

    # A question that nobody answers would be a timeout here.
    wait_until(is_gone, "the service is not found any more")
    assert instance.running
    gate.open(held)
    inbox.next()
    assert instance.wait() == 0, instance.output


def test_statistics_outlive_the_connection(start, own_broker):
    instance = start(own_broker.url, SERVICE)

    def statistics():
        client = Client(own_broker.url)
        try:
            client.ask("orders.create", {})
            return ask(client, "STATS")
        finally:
            client.close()

    before = statistics()
    own_broker.kill()
    own_broker.start()
    instance.wait_for("connected to the broker again")
    after = statistics()
    assert (after["id"], after["started"]) == (before["id"], before["started"])
    assert [s["endpoints"][0]["num_requests"] for s in (before, after)] == [1, 2]


def test_without_a_reply_subject_nothing_happens(service, client):
    service(SERVICE)
    client.publish("$SRV.PING")
    client.flush()
    assert ask(client, "PING")["name"] == "test"


def test_denied_control_subjects_do_not_end_the_start(start, secure_server):
    server = secure_server(
        """
        authorization { users: [
          { user: shop, password: secret, permissions: { subscribe: { deny: ["$SRV.>"] } } }
          { user: asker, password: secret }
        ] }
        """
    )
    service = start(server.url("shop:secret"), SERVICE)
    said(service, "services protocol", 1)
    client = Client(server.url("asker:secret"))
    try:
        assert client.ask("orders.create", {}) == {"ok": True}
        with pytest.raises(NoResponders):
            client.request("$SRV.PING.test", timeout=0.5)
    finally:
        client.close()


MANY = """
    for n = 1, 60 do
        app.listen("orders." .. n, { metadata = { number = tostring(n) } }, function(msg) return n end)
    end
"""


def test_answers_beyond_max_payload_are_shortened_and_stay_valid(start, secure_server):
    server = secure_server("max_payload: 4096")
    service = start(server.url(), MANY, options='metadata = { team = "shop" },')
    client = Client(server.url())
    for verb, fields, endpoint in (("INFO", INFO, INFO_ENDPOINT), ("STATS", STATS, STATS_ENDPOINT)) * 2:
        reply = client.request(f"$SRV.{verb}.test", timeout=5)
        check(reply.json, fields, endpoint)
        assert 3500 < len(reply.payload) <= 4096
        names = [entry["name"] for entry in reply.json["endpoints"]]
        assert names == [f"orders_{n}" for n in range(1, len(names) + 1)]
        left_out = str(60 - len(names))
        assert reply.json["metadata"] == {"team": "shop", "panini.endpoints_left_out": left_out}
    assert ask(client, "PING")["metadata"] == {"team": "shop"}
    said(service, "does not fit into the broker's max_payload", 1)
    client.close()


def test_an_answer_that_cannot_be_shortened_is_an_error(start, secure_server):
    server = secure_server("max_payload: 2048")
    service = start(server.url(), SERVICE, options='description = string.rep("x", 2048),')
    client = Client(server.url())
    reply = client.request("$SRV.INFO.test", timeout=5)
    assert reply.headers["Nats-Service-Error-Code"] == "500"
    assert "max_payload" in reply.headers["Nats-Service-Error"]
    service.wait_for("does not fit into the broker's max_payload of 2048 bytes")
    assert len(ask(client, "STATS")["endpoints"]) == 3
    client.close()


def test_denied_control_subjects_come_back_when_they_are_allowed(start, secure_server):
    def users(permissions):
        return f"""
            authorization {{ users: [
              {{ user: shop, password: secret{permissions} }}
              {{ user: asker, password: secret }}
            ] }}
        """

    denied = users(', permissions: { subscribe: { deny: ["$SRV.>"] } }')
    server = secure_server(denied)

    def restart():
        returns = service.output.count("connected to the broker again")
        server.program.kill()
        server.start()
        wait_until(lambda: service.output.count("connected to the broker again") > returns, "the service is back")
        return Client(server.url("asker:secret"))

    def is_found(client):
        try:
            return len(ask(client, "INFO", "test")["endpoints"]) == 3
        except NoResponders:
            return False

    service = start(server.url("shop:secret"), SERVICE, options="reconnecting_time_sleep = 0.05,")
    # Still denied: nothing new to say.
    client = restart()
    assert client.ask("orders.create", {}) == {"ok": True}
    assert not is_found(client)
    client.close()
    said(service, "the broker denied $SRV", 1)
    # A reload alone does not end the connection.
    server.reload(users(""))
    client = restart()
    wait_until(lambda: is_found(client), "the service is found")
    for rest in [(), ("test",), ("test", ask(client, "PING")["id"])]:
        for verb in ("PING", "INFO", "STATS"):
            assert ask(client, verb, *rest)["name"] == "test"
    client.close()
    service.wait_for("found by the services protocol again")
    # Taken away again is a new denial.
    server.reload(denied)
    wait_until(lambda: service.output.count("the broker denied $SRV") == 2, "the denial is told")
    client = Client(server.url("asker:secret"))
    assert client.ask("orders.create", {}) == {"ok": True}
    assert not is_found(client)
    client.close()
    said(service, "the broker denied $SRV", 2)
    assert service.running
