"""Listening: subjects, wildcards, named tokens, queue groups, data types, concurrency."""

import json

import pytest

from harness import PATIENCE, NoResponders, assert_error, wait_until


def gone(client, subject):
    """Whether nobody listens to the subject any more."""
    try:
        client.request(subject, b"{}", timeout=5)
        return False
    except NoResponders:
        return True


def test_one_subject(service, client):
    service("""
        app.listen("greet", function(msg)
            return { hello = msg.data.name }
        end)
    """)
    assert client.ask("greet", {"name": "Ada"}) == {"hello": "Ada"}


def test_called_with_a_colon(service, client):
    service("""
        app:listen("colon", function(msg) return { ok = true } end)
        local panini2 = require "panini"
        assert(panini2 == panini)
        app:start()
    """)
    assert client.ask("colon") == {"ok": True}


def test_a_list_of_subjects(service, client):
    service("""
        app.listen({ "list.a", "list.b" }, function(msg) return { subject = msg.subject } end)
    """)
    assert client.ask("list.a") == {"subject": "list.a"}
    assert client.ask("list.b") == {"subject": "list.b"}


@pytest.mark.parametrize(
    "pattern, subject, params",
    [
        ("orders.{id}.paid", "orders.17.paid", {"id": "17"}),
        ("{a}.{b}", "x.y", {"a": "x", "b": "y"}),
        ("mixed.*.{last}", "mixed.any.end", {"last": "end"}),
        ("open.{first}.>", "open.one.two.three", {"first": "one"}),
    ],
)
def test_named_tokens(service, client, pattern, subject, params):
    service(f"""
        app.listen("{pattern}", function(msg)
            return {{ subject = msg.subject, params = msg.params }}
        end)
    """)
    assert client.ask(subject) == {"subject": subject, "params": params}


def test_wildcards_give_the_concrete_subject(service, client):
    service("""
        app.listen("one.*", function(msg) return { kind = "one", subject = msg.subject } end)
        app.listen("many.>", function(msg) return { kind = "many", tokens = panini.array(msg.tokens) } end)
    """)
    assert client.ask("one.x") == {"kind": "one", "subject": "one.x"}
    assert client.ask("many.a.b.c") == {"kind": "many", "tokens": ["many", "a", "b", "c"]}
    assert gone(client, "one.x.y")
    assert gone(client, "many")


def test_every_listener_of_a_subject_runs_and_replies(service, client):
    service("""
        app.listen("both", function(msg) return { from = 1 } end)
        app.listen("both", function(msg) return { from = 2 } end)
    """)
    inbox = client.collect("both", [b"{}"])[0]
    assert {inbox.next().json["from"], inbox.next().json["from"]} == {1, 2}


def test_message_fields(service, client):
    service("""
        app.listen("fields", function(msg)
            return {
                subject = msg.subject, has_reply = msg.reply ~= "", raw = msg.raw, size = msg.size,
                context = type(msg.context), empty_context = next(msg.context) == nil,
                one = msg.headers["X-One"], lower = msg.headers["x-one"], absent = msg.headers["Absent"],
            }
        end)
        app.listen("fields.oneway", function(msg)
            app.publish("fields.seen", { reply = msg.reply, headers = type(msg.headers) })
        end)
    """)
    assert client.ask("fields", {"a": 1}, headers={"X-One": "1"}) == {
        "subject": "fields",
        "has_reply": True,
        "raw": '{"a": 1}',
        "size": 8,
        "context": "table",
        "empty_context": True,
        "one": "1",
    }
    seen = client.subscribe("fields.seen")
    client.publish("fields.oneway", b"{}")
    assert seen.next().json == {"reply": "", "headers": "table"}


def test_repeated_headers(service, broker, client):
    from harness import RawConnection

    service("""
        app.listen("repeat", function(msg)
            return { first = msg.headers["K"], all = msg.headers:all("K"), none = panini.array(msg.headers:all("Z")) }
        end)
    """)
    raw = RawConnection(broker).connect()
    block = b"NATS/1.0\r\nK: a\r\nK:b\r\nk: c\r\n\r\n"
    raw.send(b"SUB back 1\r\nHPUB repeat back %d %d\r\n%s\r\n" % (len(block), len(block), block))
    assert json.loads(raw.message()[2]) == {"first": "a", "all": ["a", "b"], "none": []}
    raw.close()


def test_data_types_when_receiving(service, client):
    service("""
        app.listen("as.json", function(msg) return { type = type(msg.data), value = msg.data } end)
        app.listen("as.string", { data_type = "string" }, function(msg) return { type = type(msg.data), value = msg.data } end)
        app.listen("as.bytes", { data_type = "bytes" }, function(msg)
            return { type = type(msg.data), length = #msg.data, first = msg.data:byte(1) }
        end)
    """)
    assert client.ask("as.json", [1, 2]) == {"type": "table", "value": [1, 2]}
    assert client.ask("as.json", "text") == {"type": "string", "value": "text"}
    assert client.request("as.string", "grüße".encode()).json == {"type": "string", "value": "grüße"}
    assert client.request("as.bytes", b"\xff\x00\x01").json == {"type": "string", "length": 3, "first": 255}
    # Text must be UTF-8 where text was promised; raw bytes may be anything.
    assert_error(client.request("as.string", b"\xff\xfe"), 400)


def test_empty_payload_is_nil(service, client):
    service("""
        app.listen("empty", function(msg) return { is_nil = msg.data == nil, raw = msg.raw, size = msg.size } end)
    """)
    assert client.request("empty").json == {"is_nil": True, "raw": "", "size": 0}


def test_data_is_decoded_on_first_use(service, client):
    service("""
        app.listen("lazy", function(msg) return { size = msg.size } end)
    """)
    # Not JSON, but nobody asked.
    assert client.request("lazy", b"{not json").json == {"size": 9}


def test_a_context_per_message(service, client):
    service("""
        app.listen("context", function(msg)
            local before = msg.context.seen
            msg.context.seen = true
            return { before = before == nil, after = msg.context.seen }
        end)
    """)
    for _ in range(3):
        assert client.ask("context") == {"before": True, "after": True}


def test_a_queue_group_shares_the_work(start, broker, client):
    script = """
        local app = panini.app{{ service_name = "worker{n}", allocation_queue_group = "crew" }}
        app.listen("work", function(msg) app.publish("work.done", {{ by = {n}, id = msg.data.id }}) end)
        app.listen("all", {{ queue = false }}, function(msg) app.publish("work.done", {{ by = {n}, id = "all" }}) end)
    """
    for n in (1, 2):
        start(broker.url, script.format(n=n), name=f"worker{n}")
    done = client.subscribe("work.done")
    for number in range(60):
        client.publish("work", {"id": number})
    results = [reply.json for reply in done.take(60)]
    assert sorted(r["id"] for r in results) == list(range(60))
    assert {r["by"] for r in results} == {1, 2}
    # `queue = false` leaves the group: both get it.
    client.publish("all", b"{}")
    assert {reply.json["by"] for reply in done.take(2)} == {1, 2}
    assert len(done) == 0


def test_a_queue_per_listener(start, broker, client):
    script = """
        local app = panini.app{{ service_name = "each{n}" }}
        app.listen("each", {{ queue = "crew" }}, function(msg) return {{ by = {n} }} end)
        app.listen("every", function(msg) return {{ by = {n} }} end)
    """
    for n in (1, 2):
        start(broker.url, script.format(n=n), name=f"each{n}")
    assert {reply.json["by"] for inbox in client.collect("each", [b"{}"] * 40) for reply in [inbox.next()]} == {1, 2}
    inbox = client.collect("every", [b"{}"])[0]
    assert {inbox.next().json["by"], inbox.next().json["by"]} == {1, 2}


def test_reply_false_never_answers(service, client):
    service("""
        app.listen("observe", { reply = false }, function(msg)
            app.publish("observed", { raw = msg.raw })
            if msg.data.fail then error("no answer for this either") end
            return { not_sent = true }
        end)
    """)
    observed = client.subscribe("observed")
    inboxes = client.collect("observe", [b'{"fail": false}', b'{"fail": true}'])
    observed.take(2)
    # One more round trip through the same service: an answer to the earlier ones would have come before it.
    client.collect("observe", [b'{"fail": false}'])
    observed.next()
    client.flush()
    assert all(len(inbox) == 0 for inbox in inboxes)


def test_concurrency_one_keeps_the_order(service, client):
    service("""
        app.listen("ordered", { concurrency = 1 }, function(msg)
            if msg.data.n % 2 == 0 then app.sleep(0.01) end
            app.publish("ordered.done", { n = msg.data.n })
        end)
    """)
    done = client.subscribe("ordered.done")
    for n in range(20):
        client.publish("ordered", {"n": n})
    assert [reply.json["n"] for reply in done.take(20)] == list(range(20))


def test_handlers_interleave_when_they_wait(service, client, gate):
    service("""
        app.listen("mixed", function(msg)
            if msg.data.wait then assert(app.request("gate", {}, { timeout = 60 })) end
            return { done = msg.data.wait }
        end)
    """)
    slow = client.collect("mixed", [b'{"wait": true}'])[0]
    held = gate.arrived()
    assert client.ask("mixed", {"wait": False}) == {"done": False}
    assert len(slow) == 0
    gate.open(held)
    assert slow.next().json == {"done": True}


def test_concurrency_limit(service, client, gate):
    service("""
        local running, most = 0, 0
        app.listen("limited", { concurrency = 2 }, function(msg)
            running = running + 1
            most = math.max(most, running)
            assert(app.request("gate", {}, { timeout = 60 }))
            running = running - 1
            return { most = most }
        end)
    """)
    inboxes = client.collect("limited", [b"{}"] * 6)
    for _ in range(3):
        for held in [gate.arrived(), gate.arrived()]:
            gate.open(held)
    assert {inbox.next().json["most"] for inbox in inboxes} == {2}


def test_more_than_may_wait_is_429(service, client, gate):
    running = service(
        """
        app.listen("busy", { concurrency = 1 }, function(msg)
            assert(app.request("gate", {}, { timeout = 60 }))
            return { ok = true }
        end)
        """,
        options="pending_limit = 2",
    )
    inboxes = client.collect("busy", [b"{}"] * 5)
    held = gate.arrived()
    # One runs, two wait, two are told so at once.
    for inbox in inboxes[3:]:
        assert_error(inbox.next(), 429)
    # One-way messages are dropped and reported once, not a line each.
    for _ in range(100):
        client.publish("busy", b"{}")
    client.flush()
    dropped = running.wait_for(r"(?i)(drop|discard|overload|pending)")
    assert dropped
    gate.open(held)
    for inbox in inboxes[1:3]:
        gate.open(gate.arrived())
    for inbox in inboxes[:3]:
        assert inbox.next().json == {"ok": True}
    lines = [line for line in running.output.splitlines() if "busy" in line and "ready" not in line]
    assert len(lines) < 10, running.output


def test_dynamic_subscription(service, client):
    service("""
        local handles = {}
        app.listen("subscribe", function(msg)
            handles[msg.data.subject] = app.listen(msg.data.subject, function(inner)
                return { dynamic = inner.subject, data = inner.data }
            end)
            return { ok = true }
        end)
        app.listen("unsubscribe", function(msg)
            if msg.data.by_name then
                app.unsubscribe(msg.data.subject)
            else
                handles[msg.data.subject].unsubscribe()
            end
            return { ok = true }
        end)
    """)
    for by_name in (False, True):
        assert gone(client, "later.x")
        client.ask("subscribe", {"subject": "later.x"})
        wait_until(lambda: not gone(client, "later.x"), "the new subscription answers")
        assert client.ask("later.x", {"a": 1}) == {"dynamic": "later.x", "data": {"a": 1}}
        client.ask("unsubscribe", {"subject": "later.x", "by_name": by_name})
        wait_until(lambda: gone(client, "later.x"), "the subscription has ended")


def test_unsubscribe_ends_all_listeners_of_a_subject(service, client):
    service("""
        app.listen("twin", function(msg) return { n = 1 } end)
        app.listen("twin", function(msg) return { n = 2 } end)
        app.listen("other", function(msg) return { n = 3 } end)
        app.listen("end", function(msg) app.unsubscribe("twin") return { ok = true } end)
    """)
    client.ask("end")
    wait_until(lambda: gone(client, "twin"), "both have ended")
    assert client.ask("other") == {"n": 3}


def test_filters(service, client):
    service("""
        app.add_filters{ include = { "keep" }, exclude = { "secret" } }
        app.listen("keep.one", function(msg) return { ok = true } end)
        app.listen("keep.secret", function(msg) return { ok = true } end)
        app.listen("drop.one", function(msg) return { ok = true } end)
        app.listen("keep.add", function(msg)
            app.listen("drop.later", function() return { ok = true } end)
            return { ok = true }
        end)
    """)
    assert client.ask("keep.one") == {"ok": True}
    assert gone(client, "keep.secret")
    assert gone(client, "drop.one")
    # Filters are for listeners of load time.
    client.ask("keep.add")
    wait_until(lambda: not gone(client, "drop.later"), "dynamic listeners are not filtered")


GROWING = """
    local handles = {}
    app.listen("grow", function(msg)
        for n = #handles + 1, msg.data do handles[n] = app.listen("room." .. n, function() return n end) end
        return #handles
    end)
    app.listen("shrink", function(msg)
        while #handles > msg.data do
            local n = #handles
            if n % 2 == 0 then handles[n].unsubscribe() else app.unsubscribe("room." .. n) end
            handles[n] = nil
        end
        return #handles
    end)
"""


def processor(program):
    """Seconds of CPU time that a program has used."""
    with open(f"/proc/{program.process.pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def test_a_dynamic_listener_costs_the_same_however_many_there_are(service, client):
    program = service(GROWING, options="limits = { cpu = 600 }, handler_timeout = 600")

    def costs(subject, count):
        before = processor(program)
        client.ask(subject, count, timeout=4 * PATIENCE)
        return processor(program) - before

    first = costs("grow", 2000)
    costs("grow", 6000)
    last = costs("grow", 8000)
    # With a list that is walked for each, the last two thousand cost seven times what the first did.
    assert last < 3 * first + 0.2, (first, last)
    assert client.ask("room.1") == 1 and client.ask("room.8000") == 8000
    high = costs("shrink", 6000)
    costs("shrink", 2000)
    low = costs("shrink", 0)
    assert high < 3 * low + 0.2, (high, low)
    with pytest.raises(NoResponders):
        client.request("room.1")
