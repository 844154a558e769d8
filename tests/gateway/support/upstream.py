# SPDX-License-Identifier: Apache-2.0
"""An OpenAI-compatible endpoint that answers at once and misbehaves on demand.

It speaks plain asyncio streams, so that it sees every byte that it is sent and decides about every
byte that it sends. What a request gets is a behaviour: an async function of (seen, writer), made by
the functions below. An upstream notes what is wrong with a request in `faults`; tests end by
looking there.
"""
import asyncio
import collections
import json
import ssl
import threading
import time

HEAD_BYTES_MAX = 64 << 10


class Seen:
    """One request, as it came."""

    def __init__(self, line, headers, body):
        self.method, self.path, self.version = line.split(" ")
        self.headers, self.body, self.time = headers, body, time.monotonic()

    def header(self, name):
        """The only value of a header; None where it is not sent."""
        values = [v for n, v in self.headers if n.lower() == name.lower()]
        if len(values) > 1:
            raise AssertionError(f"header {name} stands {len(values)} times")
        return values[0] if values else None

    def json(self):
        return json.loads(self.body)


def head(status=200, reason="OK", content_type="application/json", length=None, extra=()):
    lines = [f"HTTP/1.1 {status} {reason}", f"Content-Type: {content_type}"]
    lines.append("Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}")
    lines += [f"{n}: {v}" for n, v in extra]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


def event(value):
    return b"data: " + (value if isinstance(value, bytes) else json.dumps(value).encode()) + b"\n\n"


async def send(writer, data):
    writer.write(data)
    await writer.drain()


# What is answered.

def text_of(seen, text):
    return text(seen) if callable(text) else text


def message_of(asked, text):
    if asked.get("tools"):
        name = asked["tools"][0]["function"]["name"]
        return {"role": "assistant", "content": None, "tool_calls": [
            {"id": "call_1", "type": "function",
             "function": {"name": name, "arguments": '{"city": "Graz"}'}}]}, "tool_calls"
    if (asked.get("response_format") or {}).get("type") in ("json_object", "json_schema"):
        return {"role": "assistant", "content": '{"answer": 42}'}, "stop"
    return {"role": "assistant", "content": text}, "stop"


def usage_of(usage):
    told = {"prompt_tokens": usage[0], "completion_tokens": usage[1],
            "total_tokens": usage[0] + usage[1]}
    if len(usage) > 2:
        told["prompt_tokens_details"] = {"cached_tokens": usage[2]}
    return told


def answer_of(seen, text="Vienna.", usage=(9, 3)):
    """The whole answer to a request that is not streamed."""
    asked = seen.json()
    if seen.path.endswith("/embeddings"):
        count = len(asked["input"]) if isinstance(asked["input"], list) else 1
        return {"object": "list", "model": asked["model"], "data": [
            {"object": "embedding", "index": i, "embedding": [0.25, -0.5, i]}
            for i in range(count)], "usage": {"prompt_tokens": 4 * count, "total_tokens": 4 * count}}
    if seen.path.endswith("/chat/completions"):
        message, finish = message_of(asked, text_of(seen, text))
        choices = [{"index": i, "message": message, "finish_reason": finish,
                    "logprobs": logprobs(asked)} for i in range(asked.get("n") or 1)]
        kind = "chat.completion"
    else:
        choices = [{"index": 0, "text": text_of(seen, text), "finish_reason": "stop",
                    "logprobs": None}]
        kind = "text_completion"
    told = {"id": "chatcmpl-1", "object": kind, "created": 1700000000, "model": asked["model"],
            "choices": choices, "x_unknown": {"kept": [1, 2.50, "é"]}}
    if usage is not None:
        told["usage"] = usage_of(usage)
    return told


def logprobs(asked):
    if not asked.get("logprobs"):
        return None
    return {"content": [{"token": "V", "logprob": -0.1, "bytes": [86], "top_logprobs": []}],
            "refusal": None}


def pieces_of(seen, text="Vienna.", usage=(9, 3), count=4):
    """The events of a streamed answer, the last one included."""
    asked = seen.json()
    is_chat = seen.path.endswith("/chat/completions")
    base = {"id": "chatcmpl-1", "created": 1700000000, "model": asked["model"],
            "object": "chat.completion.chunk" if is_chat else "text_completion"}
    message, finish = message_of(asked, text_of(seen, text))
    body = message["content"] or ""
    cuts = [body[i * len(body) // count:(i + 1) * len(body) // count] for i in range(count)]

    def choice(delta, ended=None):
        if is_chat:
            return {"index": 0, "delta": delta, "finish_reason": ended}
        return {"index": 0, "text": delta.get("content", ""), "finish_reason": ended}

    yield event({**base, "choices": [choice({"role": "assistant", "content": ""})]})
    if message.get("tool_calls"):
        call = dict(message["tool_calls"][0], index=0)
        yield event({**base, "choices": [choice({"tool_calls": [call]})]})
    else:
        for cut in cuts:
            yield event({**base, "choices": [choice({"content": cut})]})
    yield event({**base, "choices": [choice({}, finish)]})
    if usage is not None and (asked.get("stream_options") or {}).get("include_usage"):
        yield event({**base, "choices": [], "usage": usage_of(usage)})
    yield b"data: [DONE]\n\n"


# Behaviours.

def well(text="Vienna.", usage=(9, 3), count=4, pace=0.0, delay=0.0, extra=()):
    """Answers as an LLM that is well; `pace` seconds between streamed pieces."""
    async def behave(seen, writer):
        if delay:
            await asyncio.sleep(delay)
        if seen.method == "GET":
            listed = b'{"object":"list","data":[{"id":"m","object":"model"}]}'
            await send(writer, head(length=len(listed)) + listed)
        elif seen.json().get("stream"):
            out = head(content_type="text/event-stream", extra=extra)
            for piece in pieces_of(seen, text, usage, count):
                out += chunk(piece)
                if pace:
                    await send(writer, out)
                    out = b""
                    await asyncio.sleep(pace)
            await send(writer, out + b"0\r\n\r\n")
        else:
            body = json.dumps(answer_of(seen, text, usage), ensure_ascii=False).encode()
            await send(writer, head(length=len(body), extra=extra) + body)
    return behave


def says(status, message="no", code=None, extra=(), reason="Bad"):
    """An error of the protocol."""
    async def behave(seen, writer):
        body = json.dumps({"error": {"message": message, "type": "upstream_error", "param": None,
                                     "code": code}}).encode()
        await send(writer, head(status, reason, length=len(body), extra=extra) + body)
    return behave


def sends(data, close=True):
    """Exactly these bytes."""
    async def behave(seen, writer):
        await send(writer, data)
        if close:
            writer.close()
    return behave


def hangs():
    """Takes the request and never answers. Notes when the peer goes: `seen.gone`."""
    async def behave(seen, writer):
        while not writer.is_closing() and not seen.reader.at_eof():
            try:
                await asyncio.wait_for(seen.reader.read(1), 0.05)
            except asyncio.TimeoutError:
                continue
        seen.gone = time.monotonic()
    return behave


def dies(after=2):
    """A stream that breaks off after some pieces; unstreamed: half of the body."""
    async def behave(seen, writer):
        if seen.json().get("stream"):
            out = head(content_type="text/event-stream")
            for i, piece in enumerate(pieces_of(seen)):
                if i == after:
                    break
                out += chunk(piece)
            await send(writer, out)
        else:
            body = json.dumps(answer_of(seen)).encode()
            await send(writer, head(length=len(body)) + body[:len(body) // 2])
        await asyncio.sleep(0.02)
        writer.transport.abort()
    return behave


def half_chunk():
    """A chunk that promises more than comes, and then nothing."""
    async def behave(seen, writer):
        piece = next(pieces_of(seen))[:-2] if seen.json().get("stream") else b'{"id": "chat'
        await send(writer, head(content_type="text/event-stream" if seen.json().get("stream")
                                else "application/json") + b"%x\r\n" % (len(piece) + 100) + piece)
        await asyncio.sleep(0.02)
        writer.close()
    return behave


def endless(size=1 << 14):
    """Streams pieces of this size as fast as they are taken; counts them in seen.sent."""
    async def behave(seen, writer):
        base = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        piece = chunk(event({**base, "choices": [
            {"index": 0, "delta": {"content": "x" * size}, "finish_reason": None}]}))
        seen.sent = 0
        try:
            await send(writer, head(content_type="text/event-stream"))
            while True:
                await send(writer, piece)
                seen.sent += len(piece)
        except (ConnectionError, OSError):
            seen.gone = time.monotonic()
    return behave


def in_turn(*behaviours):
    """One after the other; the last one for ever."""
    waiting = collections.deque(behaviours)

    async def behave(seen, writer):
        chosen = waiting.popleft() if len(waiting) > 1 else waiting[0]
        await chosen(seen, writer)
    return behave


def sometimes(rng, share, fault, else_=None):
    """This fault in a share of the requests."""
    good = else_ or well()

    async def behave(seen, writer):
        await (fault if rng.random() < share else good)(seen, writer)
    return behave


def passing(rng, share, fault):
    """This fault in a share of the requests, the first time that each of them comes."""
    good, known = well(), set()

    async def behave(seen, writer):
        is_new = seen.body not in known
        known.add(seen.body)
        await (fault if is_new and rng.random() < share else good)(seen, writer)
    return behave


class Upstream:
    """A server on a loopback port of its own, in a thread of its own."""

    def __init__(self, model="m", key="sk-upstream-canary", behave=None, tls=None):
        self.model, self.key, self.behave = model, key, behave or well()
        self.requests, self.faults, self.connections = [], [], 0
        self.port, self.tls = 0, tls
        self.loop, self.server = asyncio.new_event_loop(), None
        self.writers = set()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.listen()

    @property
    def url(self):
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}/v1"

    def call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    def listen(self):
        async def begin():
            context = None
            if self.tls:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(*self.tls)
            self.server = await asyncio.start_server(
                self.serve, "127.0.0.1", self.port, limit=64 << 20, ssl=context, backlog=4096)
            self.port = self.server.sockets[0].getsockname()[1]
        self.call(begin())

    def refuse(self):
        """No longer listens, and drops what is connected."""
        async def end():
            self.server.close()
            for writer in list(self.writers):
                writer.transport.abort()
        self.call(end())

    def close(self):
        self.refuse()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()

    def forget(self):
        self.requests.clear()

    async def serve(self, reader, writer):
        self.connections += 1
        self.writers.add(writer)
        try:
            while not writer.is_closing():
                seen = await self.receive(reader)
                if seen is None:
                    break
                self.requests.append(seen)
                self.check(seen)
                seen.reader = reader
                await self.behave(seen, writer)
        except (ConnectionError, OSError, asyncio.IncompleteReadError):
            pass
        except asyncio.LimitOverrunError:
            self.faults.append("a head or chunk without an end")
        finally:
            self.writers.discard(writer)
            writer.close()

    async def receive(self, reader):
        raw = await reader.readuntil(b"\r\n\r\n")
        lines = raw[:-4].decode("latin-1").split("\r\n")
        headers = []
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            if not colon or name != name.strip() or "\n" in line or not name:
                self.faults.append(f"a broken header line: {line!r}")
            headers.append((name, value.strip()))
        fields = {n.lower(): v for n, v in headers}
        if len(raw) > HEAD_BYTES_MAX:
            self.faults.append(f"a head of {len(raw)} bytes")
        if "transfer-encoding" in fields:
            if "content-length" in fields:
                self.faults.append("both Content-Length and Transfer-Encoding")
            body = b""
            while True:
                size = int((await reader.readuntil(b"\r\n"))[:-2], 16)
                body += (await reader.readexactly(size + 2))[:-2]
                if size == 0:
                    break
        else:
            body = await reader.readexactly(int(fields.get("content-length", "0")))
        return Seen(lines[0], headers, body)

    def check(self, seen):
        """Everything that must hold of each call."""
        def must(holds, what):
            if not holds:
                self.faults.append(f"{seen.method} {seen.path}: {what}")

        names = [n.lower() for n, _ in seen.headers]
        for name in ("host", "authorization", "content-length", "content-type"):
            must(names.count(name) <= 1, f"header {name} stands {names.count(name)} times")
        must(seen.version == "HTTP/1.1", f"version {seen.version}")
        must(seen.header("host") == f"127.0.0.1:{self.port}", f"host {seen.header('host')}")
        must(not any(n.startswith("x-metallm") for n in names), "our own header came through")
        if self.key is not None:
            must(seen.header("authorization") == f"Bearer {self.key}", "another key")
        if seen.method != "POST":
            return
        must((seen.header("content-type") or "").startswith("application/json"), "content type")
        try:
            body = seen.json()
        except ValueError:
            must(False, f"a body that is no JSON: {seen.body[:200]!r}")
            return
        must(body.get("model") == self.model, f"model {body.get('model')!r}")
        must("metallm" not in body, "our own member came through")
