"""Requests as no library would send them: by hand, and by chance from one that is right."""

import gzip
import json
import random
from collections.abc import Iterator

from tests.hostile.target import Target

MEGABYTE = 1024 * 1024
NEW_TASK = json.dumps({"type": "work", "params": {"text": "so much depends", "numbers": [1, 2.5, None]}}).encode()


def with_body(target: Target, body: bytes, *headers: str) -> bytes:
    """Return a request that is right in all but the body and these headers."""
    return target.head("POST", "/api/tasks", *headers, f"Content-Length: {len(body)}") + b"\r\n" + body


def chunked(target: Target, chunks: bytes, *headers: str) -> bytes:
    """Return a request whose body is sent in these chunks."""
    return target.head("POST", "/api/tasks", "Transfer-Encoding: chunked", *headers) + b"\r\n" + chunks


def wrong_lengths(target: Target) -> Iterator[tuple[str, bytes]]:
    """Yield requests whose length is wrong, missing or said twice."""
    for name, lines in {
        "too short": ["Content-Length: 5"],
        "too long": [f"Content-Length: {len(NEW_TASK) + 100}"],
        "negative": ["Content-Length: -1"],
        "a plus sign": [f"Content-Length: +{len(NEW_TASK)}"],
        "no number": ["Content-Length: many"],
        "a fraction": ["Content-Length: 1.5"],
        "hexadecimal": ["Content-Length: 0x10"],
        "a list": ["Content-Length: 5, 6"],
        "empty": ["Content-Length:"],
        "digits of another script": ["Content-Length: \u0661\u0660"],
        "beyond all integers": ["Content-Length: " + "9" * 400],
        "twice, differently": ["Content-Length: 5", f"Content-Length: {len(NEW_TASK)}"],
        "100 MB": ["Content-Length: 104857600"],
        "none": [],
    }.items():
        yield f"Content-Length {name}", target.head("POST", "/api/tasks", *lines) + b"\r\n" + NEW_TASK


def wrong_chunks(target: Target) -> Iterator[tuple[str, bytes]]:
    """Yield chunked bodies that are none, and requests that two servers could cut differently."""
    size = f"{len(NEW_TASK):x}\r\n".encode()
    for name, chunks in {
        "no size": b"\r\n" + NEW_TASK,
        "a size that is no number": b"zz\r\n" + NEW_TASK + b"\r\n0\r\n\r\n",
        "a negative size": b"-5\r\nabcde\r\n0\r\n\r\n",
        "a size beyond all integers": b"f" * 40 + b"\r\n" + NEW_TASK,
        "no line break after the chunk": size + NEW_TASK + b"0\r\n\r\n",
        "no end": size + NEW_TASK + b"\r\n",
        "an endless size line": b"0" * 200_000,
        "an endless extension": b"5;" + b"x" * 200_000 + b"\r\nabcde\r\n0\r\n\r\n",
        "many small chunks": b"1\r\n \r\n" * 20_000 + b"0\r\n\r\n",
        "endless trailers": size + NEW_TASK + b"\r\n0\r\n" + b"X-A: b\r\n" * 20_000 + b"\r\n",
        "a chunk of 20 MB": b"1400000\r\n" + b" " * (20 * MEGABYTE) + b"\r\n0\r\n\r\n",
    }.items():
        yield f"chunks: {name}", chunked(target, chunks)
    hidden = b"0\r\n\r\nPOST /api/tasks HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    yield "both lengths", chunked(target, hidden, f"Content-Length: {len(hidden)}")
    yield "both lengths, short", chunked(target, hidden, "Content-Length: 5")
    for value in ("identity", "chunked, identity", "xchunked", "\x0bchunked", "gzip, chunked", "chunked\tx", "CHUNKED"):
        head = target.head("POST", "/api/tasks", f"Transfer-Encoding: {value}", f"Content-Length: {len(NEW_TASK)}")
        yield f"Transfer-Encoding {value!r}", head + b"\r\n" + NEW_TASK
    yield "Transfer-Encoding twice", chunked(target, hidden, "Transfer-Encoding: identity")


def wrong_heads(target: Target) -> Iterator[tuple[str, bytes]]:
    """Yield beginnings of requests that are too long, broken or have bytes that do not belong there."""
    end = b"\r\n"
    health = b"GET /api/health HTTP/1.1\r\nHost: x\r\n"
    yield "a header of 64 KB", target.head("GET", "/api/tasks", "X-Long: " + "x" * 65536) + end
    yield "a header of 10 MB", target.head("GET", "/api/tasks", "X-Long: " + "x" * 10 * MEGABYTE) + end
    yield "1,000 headers", target.head("GET", "/api/tasks", *(f"X-{n}: y" for n in range(1000))) + end
    yield "100,000 headers", target.head("GET", "/api/tasks", *(f"X-{n}: y" for n in range(100_000))) + end
    yield "an address of 64 KB", target.head("GET", "/api/tasks?tag=" + "x" * 65536) + end
    yield "an address of 10 MB", target.head("GET", "/" + "x" * 10 * MEGABYTE) + end
    yield "5,000 slashes", target.head("GET", "/" * 5000) + end
    yield "2,000 arguments", target.head("GET", "/api/tasks?" + "&".join(f"a{n}=1" for n in range(2000))) + end
    yield "a key of 10,000", health + b"X-API-Key: " + b"k" * 10_000 + end * 2
    for name, piece in {"NUL": b"\x00", "CR": b"\r", "ESC": b"\x1b", "bad UTF-8": b"\xff\xfe", "ü": b"\xfc"}.items():
        yield f"{name} in the path", b"GET /api/ta" + piece + b"sks HTTP/1.1\r\nHost: x\r\n\r\n"
        yield f"{name} in the query", b"GET /api/tasks?a=" + piece + b" HTTP/1.1\r\nHost: x\r\n\r\n"
        yield f"{name} in a header", health + b"X-A: " + piece + b"b\r\n\r\n"
        yield f"{name} in the name of a header", health + b"X-" + piece + b"A: b\r\n\r\n"
        yield f"{name} in the key", health + b"X-API-Key: tm_" + piece + b"\r\n\r\n"
        yield f"{name} in the method", b"GE" + piece + b"T /api/health HTTP/1.1\r\nHost: x\r\n\r\n"
    for path in (
        "/api/tasks%00",
        "/api/%ff%fe",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/api/task-types/%ed%a0%80",
        "/%",
        "/%zz",
    ):
        yield f"path {path}", target.head("GET", path) + end
        yield f"query {path}", target.head("GET", f"/api/tasks?cursor={path}&tag={path}") + end
    for name, request in {
        "HTTP/0.9": b"GET /api/health\r\n",
        "HTTP/0.9 and headers": b"GET /api/health\r\nHost: x\r\n\r\n",
        "HTTP/1.0 without a host": b"GET /api/health HTTP/1.0\r\n\r\n",
        "HTTP/1.1 without a host": b"GET /api/health HTTP/1.1\r\n\r\n",
        "HTTP/3.7": b"GET /api/health HTTP/3.7\r\nHost: x\r\n\r\n",
        "HTTP/99999999999.1": b"GET /api/health HTTP/99999999999.1\r\nHost: x\r\n\r\n",
        "HTTP/2 at once": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00" * 50,
        "TLS": bytes.fromhex("16030100c2010000be0303") + b"\x00" * 200,
        "an address with a host": b"GET http://other.example/api/health HTTP/1.1\r\nHost: x\r\n\r\n",
        "an address of a file": b"GET file:///etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
        "two hosts": b"GET /api/health HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        "a host that is none": b"GET /api/health HTTP/1.1\r\nHost: <>@[\r\n\r\n",
        "CONNECT": b"CONNECT example.org:443 HTTP/1.1\r\nHost: x\r\n\r\n",
        "TRACE": b"TRACE /api/tasks HTTP/1.1\r\nHost: x\r\n\r\n",
        "OPTIONS *": b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
        "a method of 10,000": b"A" * 10_000 + b" / HTTP/1.1\r\nHost: x\r\n\r\n",
        "no method": b" /api/health HTTP/1.1\r\nHost: x\r\n\r\n",
        "small letters": b"get /api/health http/1.1\r\nhost: x\r\n\r\n",
        "line feeds only": b"GET /api/health HTTP/1.1\nHost: x\n\n",
        "a folded header": health + b"X-A: b\r\n  c\r\n\r\n",
        "a header without a colon": health + b"X-A\r\n\r\n",
        "a blank before the colon": health + b"Content-Length : 5\r\n\r\nabcde",
        "a header without a name": health + b": b\r\n\r\n",
        "blank lines first": end * 100 + health + end,
        "nothing but blank lines": end * 100_000,
        "Expect": health + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\nabcde",
        "Expect something else": health + b"Expect: a-miracle\r\n\r\n",
        "Upgrade": health + b"Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
        "a web socket": health + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n",
        "an overridden method": health.replace(b"GET", b"POST") + b"X-HTTP-Method-Override: \x7f\r\n\r\n",
        "50 at once": (health + end) * 50,
        "half a line": b"GET /api/he",
        "half a header": health + b"X-A: b",
        "one byte": b"\x00",
    }.items():
        yield name, request


def wrong_bodies(target: Target) -> Iterator[tuple[str, bytes]]:
    """Yield bodies that blow up, that no parser or database likes, or that are not what their headers say."""
    text = '{"type": "work", "params": {"x": %s}}'
    for name, value in {
        "100,000 brackets": "[" * 100_000 + "]" * 100_000,
        "100,000 objects": '{"a":' * 100_000 + "1" + "}" * 100_000,
        "1e400": "1e400",
        "-1e400": "-1e400",
        "1e-400": "1e-400",
        "4,000 digits": "9" * 4000,
        "5,000 digits": "9" * 5000,
        "900,000 digits": "9" * 900_000,
        "900,000 digits after the point": "0." + "9" * 900_000,
        "an exponent of 900,000 digits": "1e" + "9" * 900_000,
        "NaN": "NaN",
        "Infinity": "[Infinity, -Infinity]",
        "half a surrogate pair": '"\\ud800"',
        "a NUL": '"\\u0000"',
        "200,000 empty lists": "[" + "[]," * 200_000 + "0]",
        "300,000 escapes": '"' + "\\n" * 300_000 + '"',
    }.items():
        yield f"body: {name}", with_body(target, (text % value).encode())
    twice = b'{"type": "work", "type": "other", "params": {}, "params": {"a": 1, "a": 2}}'
    yield "body: names twice", with_body(target, twice)
    many = json.dumps({"type": "work", "params": {f"key {number}": number for number in range(40_000)}}).encode()
    yield "body: 40,000 names", with_body(target, many)
    bomb = gzip.compress(b'{"type": "work", "params": {"x": "' + b"y" * (100 * MEGABYTE) + b'"}}')
    for encoding in ("gzip", "deflate", "br", "identity, gzip", "x"):
        yield f"body: a bomb in {encoding}", with_body(target, bomb, f"Content-Encoding: {encoding}")
    for kind in (
        "multipart/form-data; boundary=x",
        "multipart/form-data",
        "text/xml",
        "application/json; charset=utf-7",
    ):
        yield f"body: {kind}", with_body(target, NEW_TASK, f"Content-Type: {kind}")
    form = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n' * 10_000 + b"--x--\r\n"
    yield "body: a form of 10,000 parts", with_body(target, form, "Content-Type: multipart/form-data; boundary=x")
    yield "body: random bytes", with_body(target, random.Random(5).randbytes(100_000))
    for half in (1, 10, len(NEW_TASK) - 1):
        whole = with_body(target, NEW_TASK)
        yield f"body: ends {half} bytes early", whole[:-half]


def mutations(target: Target, seed: int, number: int) -> Iterator[tuple[str, bytes]]:
    """Yield requests made from right ones by chance: bytes changed, left out, doubled, put elsewhere."""
    chance = random.Random(seed)
    claim = b'{"worker_id": "w", "types": ["work"]}'
    right = [
        with_body(target, NEW_TASK, "Content-Type: application/json"),
        target.head("POST", "/api/tasks/claim", f"Content-Length: {len(claim)}") + b"\r\n" + claim,
        target.head("GET", "/api/tasks?limit=5&tag=a&metadata=b=c") + b"\r\n",
        chunked(target, f"{len(NEW_TASK):x}\r\n".encode() + NEW_TASK + b"\r\n0\r\n\r\n"),
    ]
    pieces = [
        b"\r\n",
        b"\x00",
        b"%00",
        b"\xff",
        b": ",
        b" ",
        b"{",
        b"[",
        b'"',
        b"Content-Length: 3\r\n",
        b"e9999",
        b"\n",
    ]
    pieces += [b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n", b"../", b"\\ud800", b"9" * 300, b"-1", b"x" * 9000]
    for which in range(number):
        request = bytearray(chance.choice(right))
        for _ in range(chance.choice((1, 1, 2, 5))):
            at = chance.randrange(len(request) + 1)
            kind = chance.randrange(6)
            if kind == 0:
                request[at : at + 1] = chance.randbytes(1)
            elif kind == 1:
                del request[at : at + chance.choice((1, 1, 10, 100))]
            elif kind == 2:
                request[at:at] = chance.choice(pieces)
            elif kind == 3:
                request[at:at] = request[at : at + chance.randrange(60)]
            elif kind == 4:
                other = chance.choice(right)
                request[at:] = other[chance.randrange(len(other)) :]
            else:
                request[at:at] = chance.randbytes(chance.choice((1, 5, 300)))
            if not request:
                request += b" "
        yield f"mutation {which} of seed {seed}", bytes(request)
