"""The benchmark's service on the original framework (PyPI panini 0.8.4), as its documentation writes services.

Its event loop is asyncio's own: the framework patches it (nest_asyncio), which no faster loop allows. The logger is
off, which is its fastest setting, and ujson comes with it.
"""

import os
from urllib.parse import urlparse

from panini import app as panini_app

broker = urlparse(os.environ.get("NATS_URL", "nats://127.0.0.1:4222"))
app = panini_app.App(
    service_name="bench",
    host=broker.hostname,
    port=broker.port,
    logger_required=False,
)

count = 0

sample = {
    "key1": "value1",
    "key2": 2,
    "key3": 3.0,
    "key4": [1, 2, 3, 4],
    "key5": {"1": 1, "2": 2, "3": 3, "4": 4, "5": 5},
    "key6": {"subkey1": "1", "subkey2": 2, "3": 3, "4": 4, "5": 5},
    "key7": None,
}
content = b"x" * 16


@app.listen("bench.echo")
async def echo(msg):
    return msg.data


@app.listen("bench.raw", data_type=bytes)
async def raw(msg):
    return msg.data


@app.listen("bench.sink.json")
async def sink_json(msg):
    global count
    if msg.data:
        count += 1


@app.listen("bench.sink.raw", data_type=bytes)
async def sink_raw(msg):
    global count
    count += 1


@app.listen("bench.count")
async def get_count(msg):
    return {"count": count}


@app.listen("bench.reset")
async def reset(msg):
    global count
    count = 0
    return {"count": count}


@app.listen("bench.emit")
async def emit(msg):
    message = sample if msg.data["mode"] == "json" else content
    for _ in range(msg.data["n"]):
        await app.publish("bench.out", message)
    return {"emitted": msg.data["n"]}


if __name__ == "__main__":
    app.start()
