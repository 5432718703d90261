#!/usr/bin/env python3
"""What reloads, workers and many services promise: nothing lost under load, latency, memory.

Usage: measure.py PANINI NATS_SERVER [reloads|save|memory|workers|idle]...

With the Python of .tools/venv. Without names: everything, about two minutes. Exit code 1 when a promise is broken. The
client is written in Python and shares the machine with broker and service: latencies are upper bounds.
"""

import asyncio
import os
import pathlib
import re
import statistics
import sys
import tempfile
import time

if len(sys.argv) < 3:
    sys.exit(__doc__)
PANINI, NATS_SERVER = (str(pathlib.Path(path).resolve()) for path in sys.argv[1:3])
os.environ["PANINI_BIN"], os.environ["PANINI_NATS_SERVER"] = PANINI, NATS_SERVER
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "Integration"))

import nats  # noqa: E402
from harness import Broker, Client, Program, Service, script_text, wait_until  # noqa: E402
from reloading import Load, save  # noqa: E402

RATE = 2000
RELOADS = 100
MOST_ADDED_P99 = 10.0
MOST_SAVE = 150.0
MOST_GROWTH = 1.10
LEAST_SCALE = 1.7
SERVICES = 1000
MOST_IDLE = 150.0

ANSWERING = """
local generation = GENERATION
app.listen("load.ask", function(msg)
  if math.random() < WAITING then app.sleep(0.05) end
  return { generation = generation }
end)
app.listen("load.number", function(msg) app.publish("load.number.out", msg.raw) end)
"""
COMPUTING = """
app.listen("work", function(msg)
  local began = os.clock()
  local x = 0
  for i = 1, 600000 do x = x + i * i % 7 end
  return { x = x }
end)
"""

failures = []


def judge(what, value, most=None, least=None, unit=""):
    met = (most is None or value <= most) and (least is None or value >= least)
    target = f"at most {most}" if most is not None else f"at least {least}"
    print(f"  {'ok  ' if met else 'MISS'} {what}: {value:.2f}{unit} ({target}{unit})")
    if not met:
        failures.append(what)


def memory(pid, key="VmRSS"):
    return int(re.search(rf"{key}:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text()).group(1)) / 1024


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def p99(times):
    return sorted(times)[int(len(times) * 0.99)] * 1000


def script(generation, waiting):
    return script_text(ANSWERING.replace("GENERATION", str(generation)).replace("WAITING", str(waiting)), name="load")


def one_reload(service, path, generation, text):
    save(path, text)
    service.wait_for(rf"reloaded: version {generation - 1} to {generation}")


def reloads(folder, broker):
    for workers in (1, 2):
        path = folder / f"load{workers}.lua"
        for waiting in (0.02, 0):
            path.write_text(script(1, waiting))
            service = Service(path, broker.url, ["--watch", "--workers", str(workers)])
            with Load(broker.url, rate=RATE) as load:
                begun = len(load.times)
                for generation in range(2, RELOADS + 2):
                    save(path, script(generation, waiting))
                    time.sleep(0.15)
                with_reloads = load.times[begun:]
                quiet = len(load.times)
                time.sleep(RELOADS * 0.15)
                without = load.times[quiet:]
            load.check()
            label = f"{workers} workers, " + ("one in fifty waits 50 ms" if waiting else "none waits")
            print(f"  {label}: {load.sent} requests, none lost, failed or doubled; in order: {load.received == sorted(load.received)}")
            print(f"    p50 {statistics.median(with_reloads) * 1000:.2f}, p99 {p99(with_reloads):.2f} ms with reloads;"
                  f" p50 {statistics.median(without) * 1000:.2f}, p99 {p99(without):.2f} ms without")
            judge(f"added p99, {label}", p99(with_reloads) - p99(without), most=MOST_ADDED_P99, unit=" ms")
            service.kill()


def lines(generation, count=500):
    """A service of five hundred lines, as people write them: functions, tables, a few listeners."""
    text = [f'local app = panini.app{{ service_name = "long" }}', f"local generation = {generation}"]
    number = 0
    while len(text) < count - 12:
        number += 1
        text += [
            f"local function step{number % 150}_{number}(data)" if number < 150 else f"function Step{number}(data)",
            f'  local found = {{ id = {number}, name = "step {number}", tags = {{ "a", "b", "c" }} }}',
            "  for key, value in pairs(data) do found[key] = value end",
            "  return found",
            "end",
            f'app.listen("long.step{number}", function(msg) return {{ step = {number} }} end)' if number % 10 == 0 else "",
        ]
    text.append('app.listen("long.version", function(msg) return { generation = generation } end)')
    return "\n".join(text) + "\n"


def save_to_behaviour(folder, broker):
    path = folder / "long.lua"
    path.write_text(lines(1))
    service = Service(path, broker.url, ["--watch"])
    client = Client(broker.url)
    taken = []
    for generation in range(2, 42):
        save(path, lines(generation))
        begun = time.monotonic()
        while client.ask("long.version")["generation"] != generation:
            pass
        taken.append((time.monotonic() - begun) * 1000)
        time.sleep(0.05)
    print(f"  {lines(1).count(chr(10))} lines, saved 40 times: median {statistics.median(taken):.1f}, most {max(taken):.1f} ms")
    judge("save to new behaviour, median", statistics.median(taken), most=MOST_SAVE, unit=" ms")
    client.close()
    service.kill()


def memory_of_reloads(folder, broker):
    path = folder / "steady.lua"
    path.write_text(script(1, 0))
    service = Service(path, broker.url, ["--watch"])
    pid = service.process.pid
    early = None
    for generation in range(2, 202):
        one_reload(service, path, generation, script(generation, 0))
        if generation == 6:
            early = memory(pid), descriptors(pid)
    late = memory(pid), descriptors(pid)
    print(f"  after 5 reloads {early[0]:.1f} MB, {early[1]} descriptors; after 200 {late[0]:.1f} MB, {late[1]}")
    judge("memory after 200 reloads to after 5", late[0] / early[0], most=MOST_GROWTH)
    judge("descriptors added", late[1] - early[1], most=0)
    service.kill()


async def closed_loop(url, seconds, outstanding=32):
    connection = await nats.connect(url)
    done = 0
    end = time.monotonic() + seconds

    async def one():
        nonlocal done
        while time.monotonic() < end:
            await connection.request("work", b"{}", timeout=30)
            done += 1

    begun = time.monotonic()
    await asyncio.gather(*(one() for _ in range(outstanding)))
    taken = time.monotonic() - begun
    await connection.close()
    return done / taken


def workers(folder, broker):
    path = folder / "work.lua"
    path.write_text(script_text(COMPUTING, name="work"))
    rates = {1: [], 2: []}
    for _ in range(3):
        for count in (1, 2):
            service = Service(path, broker.url, ["--workers", str(count)])
            asyncio.run(closed_loop(broker.url, 1))
            rates[count].append(asyncio.run(closed_loop(broker.url, 4)))
            service.kill()
    one, two = statistics.median(rates[1]), statistics.median(rates[2])
    print(f"  requests a second: one worker {one:.0f}, two {two:.0f} (medians of three runs in turn)")
    judge("two workers to one", two / one, least=LEAST_SCALE)


def idle(folder, broker):
    many = folder / "many"
    many.mkdir()
    for number in range(SERVICES):
        text = f'app.listen("many.s{number}", function(msg) return {{ number = {number} }} end)\n'
        (many / f"s{number}.lua").write_text(script_text(text, name=f"s{number}"))
    begun = time.monotonic()
    service = Program([PANINI, "run", str(many), "--server", broker.url])
    wait_until(lambda: len(re.findall(r"is ready", service.output)) == SERVICES, "a thousand services are ready", 120)
    taken = time.monotonic() - begun
    client = Client(broker.url)
    for number in (0, SERVICES // 2, SERVICES - 1):
        assert client.ask(f"many.s{number}") == {"number": number}
    client.close()
    time.sleep(3)
    pid = service.process.pid
    print(f"  {SERVICES} services ready in {taken:.1f} s: {memory(pid):.1f} MB resident, {memory(pid, 'RssAnon'):.1f} MB of it their own")
    judge("a thousand idle services", memory(pid), most=MOST_IDLE, unit=" MB")
    service.kill()


PARTS = {"reloads": reloads, "save": save_to_behaviour, "memory": memory_of_reloads, "workers": workers, "idle": idle}


def main():
    names = sys.argv[3:] or list(PARTS)
    for name in names:
        if name not in PARTS:
            sys.exit(f"no part named {name} (parts: {', '.join(PARTS)})")
    broker = Broker("nats-server").start()
    try:
        with tempfile.TemporaryDirectory() as folder:
            for name in names:
                print(f"{name}:")
                PARTS[name](pathlib.Path(folder), broker)
    finally:
        Program.end_all()
        broker.kill()
    if failures:
        sys.exit("missed: " + "; ".join(failures))


main()
