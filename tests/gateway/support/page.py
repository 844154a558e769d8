# SPDX-License-Identifier: Apache-2.0
"""docs/conformance.md from what a run found."""
import importlib.metadata
import json
import pathlib

INTRO = """# Conformance

<!-- Made by tests/gateway/test_conformance.py, which fails where this page is not what it finds. -->

What each surface of the gateway does over each upstream, as a run of the tests found it: the official SDKs for Python and Node.js ask, the gateway translates, and upstreams answer that check every request by the providers' own SDKs and service models (`tests/gateway/support/`). Each cell is asked whole and streamed, by turns from Python and from Node.js. What the upstream was told and what the client was given are compared in full.

Clients: {clients}. Judges: {judges}.

`openai` stands for any server of that protocol, and `azure` for Azure's addresses by deployment with OpenAI's own limits; `bedrock` is Converse, `bedrock-invoke` InvokeModel with Titan.

- **pass**: nothing was lost. Where surface and upstream speak the same protocol, the bytes were the same both ways but for the model's name.
- **without ...**: what does not change the answer was left out, as [protocols.md](protocols.md) tells; the answer says so in `x-metallm-dropped`.
- **no: ...**: refused with status 400 before the upstream was asked, since the protocol cannot say it; [protocols.md](protocols.md) lists these. A router passes such an LLM over, as long as it has another one.
- **estimated**: counted by the gateway itself.
- **–**: the surface has no way to ask for it.

Where the upstream answers with an error, the cell names the exception that the SDK raised: 401 and 404 are faults of the gateway's own config, so that the client reads 502.
"""


def clients():
    lock = json.loads((pathlib.Path(__file__).parents[1] / "node/package-lock.json").read_text())
    node = {n: lock["packages"][f"node_modules/{n}"]["version"] for n in (
        "openai", "@anthropic-ai/sdk")}
    python = {n: importlib.metadata.version(n) for n in ("openai", "anthropic")}
    return ", ".join([*(f"Python `{n}` {v}" for n, v in python.items()),
                      *(f"Node.js `{n}` {v}" for n, v in node.items())])


def judges():
    names = ("openai", "anthropic", "botocore", "google-genai")
    return ", ".join(f"`{n}` {importlib.metadata.version(n)}" for n in names)


def shown(verdict):
    return verdict.replace("pass, without", "without").replace("refused:", "no:")


def page(cells, upstreams, paths):
    tables = {}
    for cell in cells:
        tables.setdefault(cell.table, {}).setdefault(cell.name, {})[cell.upstream] = cell.verdict
    out = [INTRO.format(clients=clients(), judges=judges())]
    for table, rows in tables.items():
        out.append(f"\n## `{paths[table]}`\n")
        out.append("| | " + " | ".join(upstreams) + " |")
        out.append("|---|" + "---|" * len(upstreams))
        for name, row in rows.items():
            verdicts = [shown(row.get(u, "–")) for u in upstreams]
            if set(verdicts) != {"–"}:
                out.append(f"| {name} | " + " | ".join(verdicts) + " |")
    return "\n".join(out) + "\n"
