# SPDX-License-Identifier: Apache-2.0
"""Amazon Bedrock's runtime: Converse and ConverseStream, and InvokeModel with Titan's bodies.

The judges are botocore's: its service model tells the shapes, its validator and its signer look at
every request; streams are AWS event streams."""
import base64
import binascii
import datetime
import functools
import json
import re
import struct
import urllib.parse

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import botocore.session
import botocore.validate

from .fake import Breach, Fake, must, numbered
from .scripts import SCRIPTS, cut

SEALS = {p[2] for s in SCRIPTS.values() for p in s.parts if p[0] == "reasoning"}
KEYS = ("AKIDCONFORMANCE0EXAM", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYconformance",
        "IQoJb3JpZ2luX2VjE//////////wEaCXVzLWVhc3QtMSJ+token/with+signs==")
REGION = "eu-central-1"
IMAGE_BYTES_MAX, IMAGES_MAX = 3_932_160, 20  # 3.75 MB each, 20 in a request


@functools.lru_cache(maxsize=None)
def service():
    return botocore.session.Session().get_service_model("bedrock-runtime")


def shape_value(shape, value, where):
    """A JSON value as botocore's parameter, checked for all that the shape says."""
    kind = shape.type_name
    if getattr(shape, "is_document_type", False):
        return value
    if kind == "structure":
        must(isinstance(value, dict), f"{where}: not an object")
        for name in value:
            must(name in shape.members, f"{where}: extraneous key [{name}] is not permitted")
        if getattr(shape, "is_tagged_union", False):
            must(len(value) == 1, f"{where}: exactly one member, not {sorted(value)}")
        return {n: shape_value(shape.members[n], v, f"{where}.{n}") for n, v in value.items()}
    if kind == "list":
        must(isinstance(value, list), f"{where}: not a list")
        limits(shape, len(value), where)
        return [shape_value(shape.member, v, f"{where}[{i}]") for i, v in enumerate(value)]
    if kind == "map":
        return {k: shape_value(shape.value, v, f"{where}.{k}") for k, v in value.items()}
    if kind == "blob":
        data = base64.b64decode(value, validate=True)
        limits(shape, len(data), where)
        return data
    if kind == "string":
        must(isinstance(value, str), f"{where}: not a string")
        limits(shape, len(value), where)
        must(not shape.enum or value in shape.enum, f"{where}: {value!r} is not one of {shape.enum}")
        pattern = shape.metadata.get("pattern")
        must(not pattern or re.fullmatch(pattern, value, re.DOTALL), f"{where}: {value!r} does not "
             f"match {pattern}")
    elif kind in ("integer", "long"):
        must(type(value) is int, f"{where}: not a whole number")
        limits(shape, value, where)
    elif kind in ("float", "double"):
        must(type(value) in (int, float), f"{where}: not a number")
        limits(shape, value, where)
    elif kind == "boolean":
        must(isinstance(value, bool), f"{where}: not a boolean")
    return value


def limits(shape, size, where):
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    must((low is None or size >= low) and (high is None or size <= high),
         f"{where}: {size}, not {low} to {high}")


def check_parameters(operation, parameters):
    report = botocore.validate.ParamValidator().validate(
        parameters, service().operation_model(operation).input_shape)
    must(not report.has_errors(), report.generate_report())


def check_signature(seen, port):
    """Recomputes the signature by botocore, over the headers that were signed."""
    found = re.fullmatch(
        r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([a-z0-9-]+)/bedrock/aws4_request, "
        r"SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})", seen.header("authorization") or "")
    must(found, f"authorization {seen.header('authorization')}")
    key, day, region, names, signature = found.groups()
    names = names.split(";")
    must(key == KEYS[0] and region == REGION, f"credential {key}/{day}/{region}")
    must(names == sorted(names), "signed headers out of order")
    amz = {n.lower() for n, _ in seen.headers if n.lower().startswith("x-amz-")}
    must({"host"} | amz <= set(names), f"signed headers {names} without {amz}")
    must(seen.header("x-amz-security-token") == KEYS[2], "another session token")
    date = seen.header("x-amz-date")
    must(date[:8] == day, "x-amz-date is of another day")
    age = datetime.datetime.now(datetime.timezone.utc) - datetime.datetime.strptime(
        date, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.timezone.utc)
    must(abs(age.total_seconds()) < 300, f"signature expired: {date}")
    signer = botocore.auth.SigV4Auth(botocore.credentials.Credentials(*KEYS), "bedrock", REGION)
    request = botocore.awsrequest.AWSRequest(
        method=seen.method, url=f"http://127.0.0.1:{port}{seen.path}", data=seen.body,
        headers={n: seen.header(n) for n in names if n != "host"})
    request.context["timestamp"] = date
    text = signer.string_to_sign(request, signer.canonical_request(request))
    ours = signer.signature(text, request)
    must(signature == ours, f"the signature does not match; botocore signs\n"
         f"{signer.canonical_request(request)}")


def message(headers, payload):
    """One message of an AWS event stream."""
    packed = b""
    for name, value in headers:
        packed += struct.pack(">B", len(name)) + name.encode() + b"\x07" + struct.pack(
            ">H", len(value)) + value.encode()
    prelude = struct.pack(">II", 16 + len(packed) + len(payload), len(packed))
    told = prelude + struct.pack(">I", binascii.crc32(prelude)) + packed + payload
    return told + struct.pack(">I", binascii.crc32(told))


def event(name, value):
    # The real service pads its events: member "p".
    return message([(":event-type", name), (":content-type", "application/json"),
                    (":message-type", "event")],
                   json.dumps({**value, "p": "abcdefghijklmn"}, ensure_ascii=False).encode())


def exception(name, sentence):
    return message([(":exception-type", name), (":content-type", "application/json"),
                    (":message-type", "exception")], json.dumps({"message": sentence}).encode())


def block_of(block):
    """A content block, as the service model read it, as a neutral part; None: it is a mark."""
    (kind, told), = block.items()
    if kind == "text":
        must(told.strip(), "the text field in the ContentBlock object is blank")
        return ("text", told)
    if kind == "image":
        data = told["source"]["bytes"]
        must(len(data) <= IMAGE_BYTES_MAX, "an image's size")
        return ("image", f"image/{told['format']}", base64.b64encode(data).decode())
    if kind == "audio":
        return ("audio", told["format"], base64.b64encode(told["source"]["bytes"]).decode())
    if kind == "document":
        must(re.fullmatch(r"[A-Za-z0-9()\[\] -]+", told["name"]) and "  " not in told["name"],
             f"a document's name: {told['name']!r}")
        media = {"pdf": "application/pdf", "txt": "text/plain"}.get(told["format"], told["format"])
        source = told["source"]
        data = source["bytes"] if "bytes" in source else source["text"].encode()
        return ("file", media, base64.b64encode(data).decode())
    if kind == "toolUse":
        must(isinstance(told["input"], dict), "toolUse.input is no object")
        return ("call", told["toolUseId"], told["name"], told["input"])
    if kind == "toolResult":
        parts = []
        for part in told["content"]:
            if "json" in part:
                parts.append(("json", part["json"]))
            elif part != {"text": ""}:
                parts.append(block_of(part))
        return ("result", told["toolUseId"], parts, told.get("status") == "error")
    if kind == "reasoningContent":
        if "redactedContent" in told:
            return ("redacted", base64.b64encode(told["redactedContent"]).decode())
        must(told["reasoningText"].get("signature") in SEALS, "a signature that is not valid")
        return ("reasoning", told["reasoningText"]["text"], told["reasoningText"]["signature"])
    if kind == "cachePoint":
        return None
    raise Breach(f"a block of kind {kind}")


def read_turns(messages, has_tools):
    must(messages, "a conversation must have messages")
    turns, waiting, last, images = [], [], "assistant", 0
    for told in messages:
        role, blocks = told["role"], told["content"]
        must(role != last, "A conversation must alternate between user and assistant roles and "
             "start with a user message")
        must(blocks, "content is empty")
        last = role
        results = [b["toolResult"]["toolUseId"] for b in blocks if "toolResult" in b]
        must(sorted(results) == sorted(waiting), f"toolResult blocks {results} for {waiting}")
        waiting = [b["toolUse"]["toolUseId"] for b in blocks if "toolUse" in b]
        must(not (results or waiting) or has_tools, "The toolConfig field must be defined when "
             "using toolUse and toolResult content blocks")
        must(role == "assistant" or not waiting, "toolUse belongs to the assistant")
        must(role == "user" or not results, "toolResult belongs to the user")
        images += sum("image" in b for b in blocks)
        turns += [(role, part) for part in map(block_of, blocks) if part]
    must(not waiting, "toolUse without toolResult")
    must(images <= IMAGES_MAX, "too many images")
    return numbered(turns)


def read_converse(told):
    inference = told.get("inferenceConfig", {})
    options = {ours: inference[theirs] for ours, theirs in (
        ("max_tokens", "maxTokens"), ("temperature", "temperature"), ("top_p", "topP"),
        ("stop", "stopSequences")) if theirs in inference}
    tools = [{"name": t["toolSpec"]["name"], "description": t["toolSpec"].get("description"),
              "schema": t["toolSpec"]["inputSchema"]["json"],
              "strict": t["toolSpec"].get("strict")}
             for t in told.get("toolConfig", {}).get("tools", []) if "toolSpec" in t]
    for tool in tools:
        must(tool["schema"].get("type") == "object",
             "The value at toolConfig.tools.0.toolSpec.inputSchema.json.type must be one of object")
    for kind, which in told.get("toolConfig", {}).get("toolChoice", {}).items():
        options["tool_choice"] = f"name:{which['name']}" if kind == "tool" else kind
        must(kind != "tool" or any(t["name"] == which["name"] for t in tools), "no such tool")
    extra = dict(told.get("additionalModelRequestFields") or {})
    if "top_k" in extra:
        options["top_k"] = extra.pop("top_k")
    if (extra.get("thinking") or {}).get("type") == "enabled":
        options["budget"] = extra.pop("thinking")["budget_tokens"]
        must(options["budget"] >= 1024, "budget_tokens: at least 1024")
        must(options["budget"] < options.get("max_tokens", 0), "maxTokens must exceed the budget")
    if extra.get("thinking") == {"type": "adaptive"}:
        options["thinking"] = extra.pop("thinking")["type"]
    must(not extra, f"additionalModelRequestFields {sorted(extra)}")
    output = told.get("outputConfig", {})
    if "effort" in output:
        options["effort"] = output["effort"]
    if "textFormat" in output:
        options["format"] = read_format(output["textFormat"])
    for ours, theirs in (("service_tier", "serviceTier"), ("metadata", "requestMetadata")):
        if theirs in told:
            options[ours] = told[theirs]
    system = [b["text"] for b in told.get("system", []) if "text" in b]
    return {"kind": "converse", "system": system, "tools": tools, "options": options,
            "turns": read_turns(told.get("messages"), bool(tools))}


def read_format(told):
    must(told["type"] == "json_schema", f"textFormat {told['type']}")
    schema = told["structure"]["jsonSchema"]
    return {"name": schema.get("name"), "schema": json.loads(schema["schema"])}


class Bedrock(Fake):
    """The model's name in the path tells which: amazon.titan-* take InvokeModel."""
    name = "bedrock"
    stream_type = "application/vnd.amazon.eventstream"

    @property
    def url(self):
        return self.root

    def read(self, seen):
        check_signature(seen, self.port)
        found = re.fullmatch(r"/model/([^/?]+)/(converse|converse-stream|invoke|"
                             r"invoke-with-response-stream)", seen.path)
        must(found, f"no such path: {seen.path}")
        model = urllib.parse.unquote(found.group(1))
        must(model == self.model, f"modelId {model!r}")
        must(urllib.parse.quote(model, safe="") == found.group(1), f"path {seen.path}")
        operation = found.group(2)
        is_stream = "stream" in operation
        if operation.startswith("invoke"):
            must(seen.header("accept") in (None, "*/*", "application/json",
                                           "application/vnd.amazon.eventstream"),
                 f"accept {seen.header('accept')}")
            check_parameters("InvokeModel", {"modelId": model, "body": seen.body})
            return read_titan(seen.json(), model), is_stream
        name = "ConverseStream" if is_stream else "Converse"
        told = shape_value(service().operation_model(name).input_shape, seen.json(), "body")
        must("modelId" not in told, "modelId belongs in the path")
        check_parameters(name, {**told, "modelId": model})
        return read_converse(told), is_stream

    def usage(self, said):
        return {"inputTokens": said.input - said.cached - said.written,
                "outputTokens": said.output, "totalTokens": said.input + said.output,
                "cacheReadInputTokens": said.cached, "cacheWriteInputTokens": said.written}

    def ending(self, said):
        if any(p[0] == "refusal" for p in said.parts):
            return "content_filtered"
        return {"stop": "end_turn", "length": "max_tokens", "tools": "tool_use",
                "filter": "guardrail_intervened", "sequence": "stop_sequence"}[said.finish]

    def whole(self, said, heard):
        if heard.asked["kind"] != "converse":
            return titan_answer(said, heard)
        content = []
        for part in said.parts:
            if part[0] in ("text", "refusal"):
                content.append({"text": part[1]})
            elif part[0] == "reasoning":
                content.append({"reasoningContent": {"reasoningText": {
                    "text": part[1], "signature": part[2]}}})
            else:
                content.append({"toolUse": {"toolUseId": part[1].replace("call_", "tooluse_"),
                                            "name": part[2], "input": part[3]}})
        return {"output": {"message": {"role": "assistant", "content": content}},
                "stopReason": self.ending(said), "usage": self.usage(said),
                "metrics": {"latencyMs": 123}}

    def pieces(self, said, heard):
        if heard.asked["kind"] != "converse":
            yield from titan_pieces(said)
            return
        yield event("messageStart", {"role": "assistant"})
        for index, part in enumerate(said.parts):
            if part[0] == "call":
                yield event("contentBlockStart", {"contentBlockIndex": index, "start": {"toolUse": {
                    "toolUseId": part[1].replace("call_", "tooluse_"), "name": part[2]}}})
            for delta in deltas_of(part):
                yield event("contentBlockDelta", {"contentBlockIndex": index, "delta": delta})
            yield event("contentBlockStop", {"contentBlockIndex": index})
        yield event("messageStop", {"stopReason": self.ending(said)})
        yield event("metadata", {"usage": self.usage(said), "metrics": {"latencyMs": 123}})

    def failure(self, status, sentence):
        return {"message": sentence}

    def failure_headers(self, status):
        kind = {400: "ValidationException", 401: "AccessDeniedException",
                403: "AccessDeniedException", 404: "ResourceNotFoundException",
                408: "ModelTimeoutException", 424: "ModelErrorException",
                429: "ThrottlingException", 503: "ServiceUnavailableException"}
        return [("x-amzn-ErrorType", kind.get(status, "InternalServerException")),
                ("x-amzn-RequestId", "3f1b6a0e-0000-4000-8000-000000000000")]

    def midway(self, heard):
        return exception("modelStreamErrorException", "The model failed in the middle.")


def deltas_of(part):
    if part[0] == "call":
        text = json.dumps(part[3], ensure_ascii=False)
        for piece in cut(text, 3) if part[3] else [""]:
            yield {"toolUse": {"input": piece}}
    elif part[0] == "reasoning":
        for piece in cut(part[1]):
            yield {"reasoningContent": {"text": piece}}
        yield {"reasoningContent": {"signature": part[2]}}
    else:
        for piece in cut(part[1], max(4, len(part[1]) // 2000)):
            yield {"text": piece}


# InvokeModel: the bodies that Titan's models document.

def read_titan(asked, model):
    if "embed" in model:
        must(set(asked) <= {"inputText", "dimensions", "normalize", "embeddingTypes"},
             f"Malformed input request: {sorted(asked)}")
        must(isinstance(asked.get("inputText"), str) and asked["inputText"], "inputText")
        must(asked.get("dimensions", 1024) in (1024, 512, 256), "dimensions")
        return {"kind": "embedding", "inputs": [asked["inputText"]],
                "options": {k: v for k, v in asked.items() if k != "inputText"}}
    must(set(asked) <= {"inputText", "textGenerationConfig"},
         f"Malformed input request: extraneous key in {sorted(asked)}")
    must(isinstance(asked.get("inputText"), str) and asked["inputText"].strip(), "inputText")
    config = asked.get("textGenerationConfig", {})
    must(set(config) <= {"maxTokenCount", "stopSequences", "temperature", "topP"},
         f"Malformed input request: extraneous key in {sorted(config)}")
    must(type(config.get("maxTokenCount", 512)) is int and config.get("maxTokenCount", 512) >= 1,
         "maxTokenCount")
    must(0 <= config.get("temperature", 0.7) <= 1, "temperature")
    must(0 <= config.get("topP", 0.9) <= 1, "topP")
    options = {ours: config[theirs] for ours, theirs in (
        ("max_tokens", "maxTokenCount"), ("stop", "stopSequences"), ("temperature", "temperature"),
        ("top_p", "topP")) if theirs in config}
    return {"kind": "titan", "system": [], "turns": [("user", ("text", asked["inputText"]))],
            "tools": [], "options": options}


TITAN_REASONS = {"stop": "FINISHED", "length": "LENGTH", "filter": "CONTENT_FILTERED",
                 "sequence": "STOP_CRITERIA_MET", "tools": "FINISHED"}


def titan_answer(said, heard):
    if heard.asked["kind"] == "embedding":
        width = heard.asked["options"].get("dimensions", 1024)
        return {"embedding": [0.25, -0.5, 0.0] + [0.125] * (width - 3), "inputTextTokenCount": 5}
    text, reason = titan_text(said)
    return {"inputTextTokenCount": said.input, "results": [
        {"tokenCount": said.output, "outputText": text, "completionReason": reason}]}


def titan_text(said):
    """(text, completionReason)"""
    refusals = [p[1] for p in said.parts if p[0] == "refusal"]
    return (refusals[0], "CONTENT_FILTERED") if refusals else (said.text,
                                                               TITAN_REASONS[said.finish])


def titan_pieces(said):
    text, reason = titan_text(said)
    pieces = cut(text, max(4, len(text) // 2000))
    for i, piece in enumerate(pieces):
        is_last = i == len(pieces) - 1
        told = {"outputText": piece, "index": 0, "inputTextTokenCount": said.input if i == 0 else None,
                "totalOutputTextTokenCount": said.output if is_last else None,
                "completionReason": reason if is_last else None}
        if is_last:
            told["amazon-bedrock-invocationMetrics"] = {
                "inputTokenCount": said.input, "outputTokenCount": said.output,
                "invocationLatency": 500, "firstByteLatency": 100}
        yield event("chunk", {"bytes": base64.b64encode(json.dumps(told).encode()).decode()})
