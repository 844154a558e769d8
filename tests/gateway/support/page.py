# SPDX-License-Identifier: Apache-2.0
"""docs/conformance.md from what a run found."""
import importlib.metadata
import json
import pathlib

INTRO = """# Conformance

<!-- Made by tests/gateway/test_conformance.py, which fails where this page is not what it finds. -->

What each surface of the gateway does over each upstream, found by running it: the official SDKs for
Python and Node.js ask, the real gateway translates, and upstreams answer that check each request by
the providers' own SDKs and service models (`tests/gateway/support/`). Each cell was asked whole and
streamed; both what the upstream was told and what the client was given are compared in full.

Clients: {clients}. Judges: {judges}.

- **pass**: nothing was lost. Where the surface and the upstream speak the same protocol, the bytes
  were the same but for the model's name.
- **without ...**: a hint that does not change the answer was left out, as [protocols.md](protocols.md)
  tells; the answer says so in `x-metallm-dropped`.
- **no: ...**: refused with status 400, before the upstream was asked, since the protocol has no way to
  say it; [protocols.md](protocols.md) lists these.
- **–**: the surface has no way to ask for it.

A router passes an LLM over that would have to refuse, as long as it has another one.
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
