# SPDX-License-Identifier: Apache-2.0
"""An endpoint of a provider that is as strict as the provider says it is.

Every request is checked: method, path, headers, key, body. One that breaks a rule is answered as the
provider would (400) and noted in `faults`, which fails the test at its end. A good one is kept under
the cell that it names, read into the neutral form below, and answered by the script that it names
(scripts.py), whole or streamed.

The neutral form of a request, the same for all protocols:
    system   [text]
    turns    [(role, part)], role "user" or "assistant"; parts as in Said, and ("image", media, base64),
             ("image_url", url), ("file", media, base64), ("result", call, [part], is_error).
             Calls are told by their number: ("call", 0, name, arguments)
    tools    [{"name", "description", "schema", "strict"}]
    options  whatever was set: temperature, top_p, top_k, stop, seed, max_tokens, tool_choice, ...
"""
import asyncio
import json
import threading
import time

from . import scripts
from .upstream import Upstream, chunk, head, send


class Breach(Exception):
    """A request breaks a rule of the provider."""

    def __init__(self, sentence, status=400):
        super().__init__(sentence)
        self.status = status


def must(holds, sentence):
    if not holds:
        raise Breach(sentence)


class Heard:
    """A request that was understood."""

    def __init__(self, seen, script, cell, asked, is_stream):
        self.seen, self.script, self.cell, self.asked = seen, script, cell, asked
        self.is_stream, self.sent, self.gone, self.told = is_stream, 0, None, None
        self.go = threading.Event()  # the script "wait" goes on


class Fake(Upstream):
    """What the providers' endpoints share. A provider is a class with these:
    read(seen) -> (asked, is_stream), raising Breach; whole(said, heard) -> a JSON value;
    pieces(said, heard) -> bytes of a stream, event by event; failure(status, sentence) -> a JSON
    value; midway(heard) -> the bytes that tell an error within a stream."""
    name = "fake"
    stream_type = "text/event-stream"

    def __init__(self, **more):
        self.heard, self.lock = {}, threading.Lock()
        super().__init__(behave=self.answer, **more)

    @property
    def root(self):
        return f"http://127.0.0.1:{self.port}"

    def check(self, seen):
        """What holds of every request, whatever the provider."""
        names = [n.lower() for n, _ in seen.headers]
        for name in set(names):
            self.note(names.count(name) == 1, seen, f"header {name} stands twice")
        self.note(seen.version == "HTTP/1.1", seen, f"version {seen.version}")
        self.note(seen.header("host") == f"127.0.0.1:{self.port}", seen,
                  f"host {seen.header('host')}")
        self.note(not any(n.startswith("x-metallm") for n in names), seen, "our own header")

    def note(self, holds, seen, sentence):
        if not holds:
            self.faults.append(f"{self.name}: {seen.method} {seen.path}: {sentence}: "
                               f"{seen.body[:1500].decode(errors='replace')}")

    async def answer(self, seen, writer):
        try:
            must(seen.method == "POST", "only POST is served here")
            must((seen.header("content-type") or "").split(";")[0] == "application/json",
                 f"content type {seen.header('content-type')}")
            asked, is_stream = self.read(seen)
            script, cell = scripts.mark_of(seen.body.decode())
            must(scripts.is_known(script), f"no script is called {script}")
        except Breach as breach:
            self.note(False, seen, str(breach))
            return await self.fail(writer, breach.status, str(breach))
        except (ValueError, KeyError, TypeError, AttributeError, AssertionError) as error:
            self.note(False, seen, f"{type(error).__name__}: {error}")
            return await self.fail(writer, 400, f"not understood: {error}")
        heard = Heard(seen, script, cell, asked, is_stream)
        with self.lock:
            self.heard.setdefault(cell, []).append(heard)
        await self.tell(heard, writer)

    async def fail(self, writer, status, sentence):
        body = json.dumps(self.failure(status, sentence)).encode()
        await send(writer, head(status, "Error", length=len(body),
                                extra=self.failure_headers(status)) + body)

    def failure_headers(self, status):
        return [("request-id", "req_011CSHoEeqs5C35K2UUqR7Fy")]

    async def tell(self, heard, writer):
        script = heard.script
        if script.startswith("error-"):
            return await self.fail(writer, int(script[6:]), f"told to fail ({script})")
        if script == "hang":
            return await self.watch(heard, writer)
        said = scripts.SCRIPTS.get(script, scripts.SCRIPTS["text"])
        if not heard.is_stream:
            heard.told = json.dumps(self.whole(said, heard), ensure_ascii=False)
            body = heard.told.encode()
            if script == "cut":
                await send(writer, head(length=len(body)) + body[:len(body) // 2])
                writer.transport.abort()
                return None
            return await send(writer, head(length=len(body)) + body)
        if script == "endless":
            return await self.endless(heard, writer)
        pieces = list(self.pieces(said, heard))
        begun = b"".join(chunk(p) for p in pieces[:len(pieces) // 2])
        rest = b"".join(chunk(p) for p in pieces[len(pieces) // 2:]) + b"0\r\n\r\n"
        begun = head(content_type=self.stream_type) + begun
        if script == "midway":
            return await send(writer, begun + chunk(self.midway(heard)) + b"0\r\n\r\n")
        if script == "cut":
            await send(writer, begun)
            await asyncio.sleep(0.02)
            writer.transport.abort()
            return None
        if script == "wait":
            await send(writer, begun)
            until = time.monotonic() + 30
            while not heard.go.is_set() and time.monotonic() < until:
                await asyncio.sleep(0.005)
            begun = b""
        return await send(writer, begun + rest)

    async def watch(self, heard, writer):
        """Says nothing until the peer goes."""
        if heard.is_stream:
            pieces = list(self.pieces(scripts.SCRIPTS["text"], heard))
            await send(writer, head(content_type=self.stream_type)
                       + b"".join(chunk(p) for p in pieces[:len(pieces) // 2]))
        while not writer.is_closing() and not heard.seen.reader.at_eof():
            try:
                await asyncio.wait_for(heard.seen.reader.read(1), 0.05)
            except asyncio.TimeoutError:
                continue
        heard.gone = time.monotonic()

    async def endless(self, heard, writer):
        """The pieces of a long text for ever, as fast as they are taken."""
        said = scripts.Said([("text", "x" * 400_000)])
        pieces = list(self.pieces(said, heard))
        middle = pieces[len(pieces) // 2]
        begin = pieces[:len(pieces) // 2]
        try:
            await send(writer, head(content_type=self.stream_type)
                       + b"".join(chunk(p) for p in begin))
            while True:
                await send(writer, chunk(middle))
                heard.sent += len(middle)
        except (ConnectionError, OSError):
            heard.gone = time.monotonic()

    def of(self, cell):
        """What was asked under this name, in its order."""
        with self.lock:
            return list(self.heard.get(cell, []))


def sse(value, name=None):
    told = f"event: {name}\n" if name else ""
    return (told + "data: " + json.dumps(value, ensure_ascii=False) + "\n\n").encode()


def numbered(turns):
    """Turns with their calls told by number; every result must answer an earlier call."""
    numbers, made = {}, []
    for role, part in turns:
        if part[0] == "call":
            must(part[1] not in numbers or part[1] is None, f"the call id {part[1]} stands twice")
            numbers[part[1]] = len(numbers)
            part = ("call", numbers[part[1]], *part[2:])
        elif part[0] == "result":
            must(part[1] in numbers, f"a result for {part[1]}, which nobody called")
            part = ("result", numbers[part[1]], *part[2:])
        made.append((role, part))
    return made
