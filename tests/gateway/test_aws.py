#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""botocore as the judge of what is spoken to AWS: the signer, the reader of event streams, the
bodies of Converse, and the requests of a gateway whose credentials change.

METALLM_UNIT_TESTS is the folder of the unit tests' executables: test_sigv4, test_aws_events and
test_wire_bedrock hand their module's work out over stdin and stdout."""
import base64
import binascii
import datetime
import http.server
import json
import os
import pathlib
import random
import re
import struct
import subprocess
import threading
import unittest
import urllib.parse
from unittest import mock

try:
    import botocore.auth
    import botocore.awsrequest
    import botocore.credentials
    import botocore.eventstream
    import botocore.loaders
    import botocore.model
    import botocore.validate
except ImportError:
    raise unittest.SkipTest("botocore is not installed: scripts/setup test") from None

from support.gateway import GatewayTest, wait_for

UNIT_TESTS = pathlib.Path(os.environ["METALLM_UNIT_TESTS"])
SEED = 20261129


def run(name, mode, data):
    done = subprocess.run([UNIT_TESTS / f"test_{name}", mode], input=data, capture_output=True,
                          check=False, timeout=60)
    assert done.returncode == 0, (name, mode, done.returncode, done.stderr)
    return done.stdout


class Signatures(unittest.TestCase):
    """A thousand requests signed by us, each signed again by botocore."""

    def text(self, most, alphabet, least=0):
        return "".join(self.rng.choice(alphabet) for _ in range(self.rng.randint(least, most)))

    def request(self):
        rng, letters = self.rng, "abcXYZ019-_.~"
        hard = letters + " :/+=%&?#é€\U0001f600\"'()*!,;@$<>[]{}|\\^`\t"
        segments = [rng.choice(["model", "..", ".", "", self.text(12, hard)])
                    for _ in range(rng.randint(0, 5))]
        path = "/" + "/".join(urllib.parse.quote(s, safe="") for s in segments)
        query = "&".join(f"{urllib.parse.quote(self.text(5, hard), safe='~')}="
                         f"{urllib.parse.quote(self.text(5, hard), safe='~')}"
                         for _ in range(rng.choice([0, 0, 1, 2, 5])))
        host = rng.choice(["bedrock-runtime.us-east-1.amazonaws.com", "127.0.0.1:8080"])
        headers = [["host", host]]
        for name in rng.sample(["Content-Type", "Accept", "x-amz-target", "X-Amzn-Thing", "A",
                                "a-b", "x-long-name-of-a-header"], rng.randint(0, 5)):
            headers.append([name, self.text(20, letters + "  ,;=/:", 0)])
        rng.shuffle(headers)
        return {
            "method": rng.choice(["GET", "POST", "PUT"]), "path": path, "query": query,
            "headers": headers, "payload": self.text(2000, hard),
            "wall_s": rng.randint(0, 4102444800),
            "region": rng.choice(["us-east-1", "eu-central-1", "us-gov-west-1"]),
            "service": rng.choice(["bedrock", "sts", "execute-api"]),
            "key_id": self.text(30, "ABCDEFGH234567", 16),
            "secret": self.text(80, "abcXYZ019+/=", 1),
            "token": rng.choice(["", self.text(800, "abcXYZ019+/=", 1)])}

    def judge(self, request):
        """botocore's canonical request and header lines."""
        host = dict(request["headers"])["host"]
        url = f"http://{host}{request['path']}" + ("?" + request["query"]
                                                   if request["query"] else "")
        made = botocore.awsrequest.AWSRequest(request["method"], url,
                                              data=request["payload"].encode())
        for name, value in request["headers"]:
            made.headers[name] = value
        keys = botocore.credentials.Credentials(request["key_id"], request["secret"],
                                                request["token"] or None)
        auth = botocore.auth.SigV4Auth(keys, request["service"], request["region"])
        now = datetime.datetime.fromtimestamp(request["wall_s"], datetime.timezone.utc)
        with mock.patch.object(botocore.auth, "get_current_datetime", lambda *a: now):
            auth.add_auth(made)
        signed = made.headers["Authorization"]
        del made.headers["Authorization"]
        lines = {name.lower(): made.headers[name]
                 for name in ("X-Amz-Date", "X-Amz-Security-Token") if name in made.headers}
        return auth.canonical_request(made), dict(lines, authorization=signed)

    def test_signatures_equal_botocores(self):
        self.rng = random.Random(SEED)
        requests = [self.request() for _ in range(1000)]
        answers = run("sigv4", "sign", "".join(json.dumps(r) + "\n" for r in requests).encode())
        answers = answers.decode().splitlines()
        self.assertEqual(len(answers), len(requests))
        for request, answer in zip(requests, answers):
            canonical, lines = json.loads(answer)
            theirs, their_lines = self.judge(request)
            self.assertEqual(canonical, theirs, (SEED, request))
            ours = dict(line.split(": ", 1) for line in lines.split("\r\n")[:-1])
            self.assertEqual(ours, their_lines, (SEED, request))


def frame(headers, payload):
    """A message of an event stream, written from the specification alone."""
    head = b""
    for name, (kind, value) in headers.items():
        head += struct.pack("!B", len(name)) + name.encode() + struct.pack("!B", kind)
        if kind in (6, 7):
            head += struct.pack("!H", len(value))
        head += value
    body = struct.pack("!II", 16 + len(head) + len(payload), len(head))
    body += struct.pack("!I", binascii.crc32(body)) + head + payload
    return body + struct.pack("!I", binascii.crc32(body))


class EventStreams(unittest.TestCase):
    """What we read is what botocore reads, and what our tests feed ourselves it reads, too."""

    SIZES = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}

    def header(self):
        kind = self.rng.choice([7, 7, 7] + list(range(10)))
        size = self.SIZES.get(kind, self.rng.choice([0, 1, 30, 300]))
        return kind, (b"v" * size if kind == 7 else self.rng.randbytes(size))

    def message(self):
        kind, name = self.rng.choice([("event", ":event-type"), ("exception", ":exception-type"),
                                      ("error", ":error-code")])
        headers = {f"h{i}": self.header() for i in range(self.rng.randint(0, 3))}
        headers[":message-type"] = (7, kind.encode())
        headers[name] = (7, self.rng.choice([b"chunk", b"contentBlockDelta", b"x" * 200]))
        if kind == "error":
            headers[":error-message"] = (7, "schön".encode())
        keys = list(headers)
        self.rng.shuffle(keys)
        return frame({k: headers[k] for k in keys},
                     self.rng.randbytes(self.rng.choice([0, 1, 100, 5000])))

    def theirs(self, stream):
        buffer = botocore.eventstream.EventStreamBuffer()
        buffer.add_data(stream)
        for message in buffer:
            kind = message.headers.get(":message-type", "")
            name = {"exception": ":exception-type", "error": ":error-code"}.get(kind,
                                                                                ":event-type")
            yield [kind, message.headers.get(name, ""), message.headers.get(":error-message", ""),
                   base64.b64encode(message.payload).decode()]

    def ours(self, stream):
        for line in run("aws_events", "read", stream).decode().splitlines():
            *texts, payload = json.loads(line)
            yield texts + [base64.b64encode(bytes.fromhex(payload)).decode()]

    def test_streams_are_read_as_botocore_reads_them(self):
        self.rng = random.Random(SEED)
        stream = b"".join(self.message() for _ in range(500))
        theirs = list(self.theirs(stream))
        self.assertEqual(len(theirs), 500)
        self.assertEqual(list(self.ours(stream)), theirs)

    def test_frames_of_our_tests_are_botocores(self):
        written = run("aws_events", "write", b"")
        theirs = list(self.theirs(written))
        self.assertEqual([t[:2] for t in theirs],
                         [["event", "messageStart"], ["event", "contentBlockDelta"],
                          ["exception", "throttlingException"]])
        self.assertEqual(list(self.ours(written)), theirs)


class Bodies(unittest.TestCase):
    """All that the unit test of Bedrock says is what botocore's model of the service takes."""

    def setUp(self):
        model = botocore.loaders.Loader().load_service_model("bedrock-runtime", "service-2")
        self.service = botocore.model.ServiceModel(model)

    def typed(self, value, shape, place):
        """The value as a caller of botocore gives it: blobs as bytes, members all known."""
        if shape.type_name == "structure" and not shape.metadata.get("document"):
            self.assertIsInstance(value, dict, place)
            self.assertLessEqual(set(value), set(shape.members), place)
            return {k: self.typed(v, shape.members[k], f"{place}.{k}") for k, v in value.items()}
        if shape.type_name == "list":
            return [self.typed(v, shape.member, f"{place}[]") for v in value]
        if shape.type_name == "blob":
            return base64.b64decode(value, validate=True)
        if shape.type_name == "string" and shape.enum:
            self.assertIn(value, shape.enum, place)
        if shape.type_name == "string" and "pattern" in shape.metadata:
            self.assertRegex(value, f"^(?:{shape.metadata['pattern']})$", place)
        return value

    def test_bodies_are_what_the_model_of_the_service_takes(self):
        shape = self.service.operation_model("Converse").input_shape
        lines = run("wire_bedrock", "bodies", b"").decode().splitlines()
        self.assertGreater(len(lines), 20)
        for line in lines:
            name, body = line.split("\t")
            asked = self.typed(dict(json.loads(body), modelId=name), shape, "Converse")
            report = botocore.validate.ParamValidator().validate(asked, shape)
            self.assertFalse(report.has_errors(), (report.generate_report(), body))


class Recorder(http.server.BaseHTTPRequestHandler):
    """Answers each request of Converse, and keeps it."""
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.seen.append((self.path, dict(self.headers), body))
        answer = json.dumps({
            "output": {"message": {"role": "assistant", "content": [{"text": "Hi"}]}},
            "stopReason": "end_turn", "metrics": {"latencyMs": 1},
            "usage": {"inputTokens": 3, "outputTokens": 1, "totalTokens": 4}}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


class Rotation(GatewayTest):
    """Credentials in the shared files change under a gateway."""
    KEYS = {"AKIDONE": ("secret+one", None), "AKIDTWO": ("secret/two", "tok+en==")}

    def begin(self):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Recorder)
        server.seen = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        self.credentials = pathlib.Path(self.folder) / "credentials"
        self.server = server

    def write(self, key_id):
        secret, token = self.KEYS[key_id]
        self.credentials.write_text(
            f"[default]\naws_access_key_id = {key_id}\naws_secret_access_key = {secret}\n"
            + (f"aws_session_token = {token}\n" if token else ""), encoding="ascii")

    def check_signature(self, path, headers, body):
        """The id of the key that the request is signed with, as botocore signs it."""
        headers = {name.lower(): value for name, value in headers.items()}
        key_id, names = re.match(r"AWS4-HMAC-SHA256 Credential=(\w+)/.*SignedHeaders=([\w;-]+),",
                                 headers["authorization"]).groups()
        secret, token = self.KEYS[key_id]
        self.assertEqual(headers.get("x-amz-security-token"), token)
        made = botocore.awsrequest.AWSRequest(
            "POST", f"http://127.0.0.1:{self.server.server_port}{path}", data=body,
            headers={n: headers[n] for n in names.split(";")
                     if n not in ("host", "x-amz-date", "x-amz-security-token")})
        auth = botocore.auth.SigV4Auth(
            botocore.credentials.Credentials(key_id, secret, token), "bedrock", "eu-west-1")
        now = datetime.datetime.strptime(headers["x-amz-date"], "%Y%m%dT%H%M%SZ")
        with mock.patch.object(botocore.auth, "get_current_datetime", lambda *a: now):
            auth.add_auth(made)
        self.assertEqual(headers["authorization"], made.headers["Authorization"])
        return key_id

    def test_a_reload_takes_the_new_keys_and_keeps_the_old_where_there_are_none(self):
        self.begin()
        self.write("AKIDONE")
        gateway = self.gateway(
            {"models": [{"name": "claude", "protocol": "bedrock", "region": "eu-west-1",
                         "base_url": f"http://127.0.0.1:{self.server.server_port}",
                         "model": "anthropic.claude-sonnet-4-6-v1:0",
                         "price": {"input": 1.0, "output": 2.0}}], "auth": {"keys": False}},
            environment={"AWS_SHARED_CREDENTIALS_FILE": str(self.credentials),
                         "AWS_CONFIG_FILE": "/dev/null", "AWS_EC2_METADATA_DISABLED": "true",
                         "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_PROFILE": ""})

        def key_now():
            self.assertEqual(gateway.chat(model="claude").text(), "Hi")
            return self.check_signature(*self.server.seen[-1])
        self.assertEqual(key_now(), "AKIDONE")
        self.write("AKIDTWO")
        gateway.reload()
        wait_for(lambda: key_now() == "AKIDTWO", what="the new key")
        self.credentials.unlink()
        gateway.reload()
        self.assertEqual(key_now(), "AKIDTWO")
        for secret, _ in self.KEYS.values():
            self.assertNotIn(secret, gateway.log())


if __name__ == "__main__":
    unittest.main()
