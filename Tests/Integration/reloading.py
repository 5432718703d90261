"""A service whose files a test changes while it runs, and a steady load that notices every request that is lost, late,
answered twice or answered wrong."""

import asyncio
import os
import pathlib
import threading
import time

import nats

from harness import PATIENCE, panini, wait_until


def save(path, text):
    """Writes a file as editors do: a new one takes the place of the old."""
    path = pathlib.Path(path)
    beside = path.with_name(f".{path.name}.tmp")
    beside.write_text(text)
    os.rename(beside, path)


class Reloading:
    """A running service and its script's file."""

    def __init__(self, running, environment):
        self.running = running
        self.path = running.path
        self.environment = environment

    def save(self, text):
        save(self.path, text)

    def reload(self, *arguments):
        """`panini reload` for the services of this test; returns the finished process."""
        return panini("reload", *arguments, env=self.environment)

    def ps(self):
        import json

        result = panini("ps", "--json", env=self.environment)
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    def reloaded(self, to=None, timeout=None):
        """Waits for the line that tells of a reload."""
        pattern = r"reloaded: version \d+ to " + (str(to) if to else r"\d+")
        return self.running.wait_for(pattern, timeout)


class Load:
    """Requests and one-way messages at a steady rate from a thread of its own.

    Requests go to `subject`; every answer is kept with the time it took. Numbers go to `numbers`, and come back on
    `numbers.out`.
    """

    def __init__(self, url, subject="load.ask", numbers="load.number", rate=500):
        self.url, self.subject, self.numbers, self.rate = url, subject, numbers, rate
        self.sent = 0
        self.answers = {}
        self.errors = []
        self.twice = []
        self.times = []
        self.values = set()
        self.received = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self):
        self._thread.start()
        wait_until(lambda: len(self.answers) > 10, "the load is answered")
        return self

    def __exit__(self, kind, value, traceback):
        self._stopping.set()
        self._thread.join(2 * PATIENCE)
        assert not self._thread.is_alive()

    async def _run(self):
        connection = await nats.connect(self.url)
        inbox = connection.new_inbox()
        waiting = {}

        async def answered(message):
            key = message.subject.rsplit(".", 1)[1]
            if key in self.answers:
                self.twice.append(key)
                return
            self.answers[key] = message.data
            self.times.append(time.monotonic() - waiting.pop(key))
            self.values.add(message.data)
            if message.headers:
                self.errors.append((key, dict(message.headers), message.data))

        async def number(message):
            self.received.append(int(message.data))

        await connection.subscribe(f"{inbox}.*", cb=answered)
        await connection.subscribe(f"{self.numbers}.out", cb=number)
        await connection.flush()
        begun = time.monotonic()
        while not self._stopping.is_set():
            due = int((time.monotonic() - begun) * self.rate)
            while self.sent < due:
                waiting[str(self.sent)] = time.monotonic()
                await connection.publish(self.subject, b'{"a":1}', reply=f"{inbox}.{self.sent}")
                await connection.publish(self.numbers, str(self.sent).encode())
                self.sent += 1
            await asyncio.sleep(0.002)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and (waiting or len(set(self.received)) < self.sent):
            await asyncio.sleep(0.02)
        # Whatever comes twice has come by now.
        await connection.flush()
        await asyncio.sleep(0.1)
        await connection.close()

    def check(self):
        """Nothing lost, nothing failed, nothing twice."""
        assert len(self.answers) == self.sent, f"{self.sent - len(self.answers)} of {self.sent} requests have no answer"
        assert not self.errors, f"{len(self.errors)} error replies, such as {self.errors[0]}"
        assert not self.twice, f"{len(self.twice)} requests were answered twice"
        assert len(set(self.received)) == self.sent, f"{self.sent - len(set(self.received))} one-way messages were lost"
        assert len(self.received) == self.sent, f"{len(self.received) - self.sent} one-way messages ran twice"

    def percentile(self, part):
        return sorted(self.times)[int(len(self.times) * part)]
