"""Bytes that several groups send: HTTP/1 requests, frames of HTTP/2 by hand, messages of WebSocket."""

import struct

from rawsocket import BINARY, TEXT, frame

__all__ = ["BINARY", "PREFACE", "TEXT", "frame", "get", "h2", "h2_get", "h2_head", "h2_settings", "integer", "literal", "post"]


def get(path="/", *fields):
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: a", *fields, "", ""]).encode("latin-1")


def post(path, body, *fields):
    head = "\r\n".join([f"POST {path} HTTP/1.1", "Host: a", f"Content-Length: {len(body)}", *fields, "", ""])
    return head.encode("latin-1") + body


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RESET, SETTINGS, PUSH, H2_PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, END_HEADERS, ACK = 1, 4, 1


def h2(kind, payload=b"", flags=0, stream=0):
    """One frame."""
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def h2_settings(**values):
    """SETTINGS of a client; `window` is what an answer may send before it is given more."""
    numbers = {"table": 1, "push": 2, "streams": 3, "window": 4, "frame": 5, "list": 6}
    return h2(SETTINGS, b"".join(struct.pack(">HI", numbers[name], value) for name, value in values.items()))


def literal(name, value, index=False):
    """A header field that is written out."""
    kind = b"\x40" if index else b"\x00"
    return kind + integer(len(name), 7) + name + integer(len(value), 7) + value


def integer(value, bits):
    most = (1 << bits) - 1
    if value < most:
        return bytes([value])
    data, value = [most], value - most
    while value >= 128:
        data.append(value % 128 + 128)
        value //= 128
    return bytes([*data, value])


def h2_head(path, method=b"\x82", extra=b""):
    """The block of a request: method, scheme, path, authority, then what is given."""
    path = path.encode()
    return method + b"\x86\x04" + integer(len(path), 7) + path + b"\x01\x01a" + extra


def h2_get(path, stream, extra=b""):
    return h2(HEADERS, h2_head(path, extra=extra), END_STREAM | END_HEADERS, stream)
