#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes data/models.yaml: prices and abilities of the platforms' models, each figure with its
source and date. A price stands in it only if two public tables that are kept by different people
state the same: LiteLLM's model_prices_and_context_window and Pydantic's genai-prices. What begins
on a later day is genai-prices' alone; limits and abilities are LiteLLM's. Both packages must be
installed for the Python that runs this:

    python3 scripts/models.py --day 2026-11-29 > data/models.yaml

What was left out, and why, is told on standard error.
"""
import argparse
import collections
import importlib.metadata
import importlib.util
import json
import pathlib
import sys

PLATFORMS = {  # here: LiteLLM's providers, genai-prices' provider, the host of base_url, the page
    "openai": (["openai"], "openai", "api.openai.com",
               "https://developers.openai.com/api/docs/pricing"),
    "anthropic": (["anthropic"], "anthropic", "api.anthropic.com",
                  "https://platform.claude.com/docs/en/about-claude/pricing"),
    "bedrock": (["bedrock", "bedrock_converse"], "aws", "bedrock-runtime.*.amazonaws.com",
                "https://aws.amazon.com/bedrock/pricing/"),
    "gemini": (["gemini"], "google", "generativelanguage.googleapis.com",
               "https://ai.google.dev/gemini-api/docs/pricing"),
    "mistral": (["mistral"], "mistral", "api.mistral.ai", "https://mistral.ai/pricing/api"),
    "groq": (["groq"], "groq", "api.groq.com", "https://console.groq.com/docs/models"),
    "deepseek": (["deepseek"], "deepseek", "api.deepseek.com",
                 "https://api-docs.deepseek.com/quick_start/pricing"),
    "together": (["together_ai"], "together", "api.together.xyz",
                 "https://www.together.ai/pricing"),
}
BOTH = "LiteLLM + genai-prices"
MODES = ("chat", "responses", "completion", "embedding")
BEDROCK = ("amazon.titan", "amazon.nova", "anthropic.claude", "meta.llama")
# A model that speaks, searches or makes pictures is billed by more than tokens.
OTHER_BILLS = ("audio", "search", "deep-research", "lyria", "omni", "robotics", "container", "ft:")


def base(price):
    """Of a price that grows with the prompt: that of short prompts."""
    return getattr(price, "base", price)


def number(price):
    return None if price is None else round(float(base(price)), 8)


def candidates(prices, day):
    """The price records of genai-prices that hold today: the latest by date, and those of hours."""
    if not isinstance(prices, list):
        return [prices]
    dated = [c for c in prices if getattr(c.constraint, "start_date", None) is not None]
    held = [c for c in dated if c.constraint.start_date.isoformat() <= day]
    always = [c for c in prices if c.constraint is None]
    hours = [c for c in prices if hasattr(c.constraint, "start_time")]
    latest = max(held, key=lambda c: c.constraint.start_date, default=None)
    return [c.prices for c in ([latest] if latest else always[-1:]) + hours]


def per_million(entry, name):
    value = entry.get(name)
    return None if value is None else round(value * 1e6, 8)


def agrees(ours, theirs):
    return ours is not None and theirs is not None and abs(ours - theirs) < 1e-7


def find_price(entry, model, day):
    """The record of genai-prices that states LiteLLM's prices; None: none does."""
    inp = per_million(entry, "input_cost_per_token")
    out = per_million(entry, "output_cost_per_token")
    for record in candidates(model.prices, day):
        is_embedding = entry["mode"] == "embedding"
        if agrees(inp, number(record.input_mtok)) and (
                is_embedding or agrees(out, number(record.output_mtok))):
            return record
    return None


def announced(model, day):
    """Prices that begin on a later day: (day, record) by day."""
    prices = model.prices if isinstance(model.prices, list) else []
    later = [c for c in prices if getattr(c.constraint, "start_date", None) is not None
             and c.constraint.start_date.isoformat() > day]
    return sorted((c.constraint.start_date.isoformat(), c.prices) for c in later)


def later_figures(now, start, record):
    """As figures() for a price that genai-prices alone announces; limits and abilities stay."""
    prices = {"input": number(record.input_mtok), "output": number(record.output_mtok),
              "cached_input": number(record.cache_read_mtok),
              "cached_write": number(record.cache_write_mtok)}
    facts = {k: v for k, v in now.items() if k in ("context", "max_output") or v is True}
    return {"from": start, **{k: v for k, v in prices.items() if v}, **facts}


def batch_of(model):
    for variant in model.price_variants or []:
        if variant.when == {"processing": "batch"}:
            return variant.prices
    return None


def figures(entry, model, record):
    """Members of one line. A further price that the two tables tell differently is left out."""
    out = {"input": per_million(entry, "input_cost_per_token"),
           "output": per_million(entry, "output_cost_per_token") or 0.0}
    batch = batch_of(model)
    further = [("cached_input", "cache_read_input_token_cost", record.cache_read_mtok),
               ("cached_write", "cache_creation_input_token_cost", record.cache_write_mtok),
               ("batch_input", "input_cost_per_token_batches", batch and batch.input_mtok),
               ("batch_output", "output_cost_per_token_batches", batch and batch.output_mtok)]
    for name, key, theirs in further:
        value = per_million(entry, key)
        if value and (theirs is None or agrees(value, number(theirs))):
            out[name] = value
    for key in entry:
        if key.startswith("input_cost_per_token_above_") and key.endswith("k_tokens"):
            over = key[len("input_cost_per_token_above_"):-len("_tokens")]
            long_output = per_million(entry, f"output_cost_per_token_above_{over}_tokens")
            if long_output is not None:
                out.update(long_over=int(over[:-1]) * 1000, long_input=per_million(entry, key),
                           long_output=long_output)
                cached = per_million(entry, f"cache_read_input_token_cost_above_{over}_tokens")
                if cached:
                    out["long_cached_input"] = cached
    if entry.get("max_input_tokens"):
        out["context"] = int(entry["max_input_tokens"])
    if entry.get("max_output_tokens") and entry["mode"] != "embedding":
        out["max_output"] = int(entry["max_output_tokens"])
    out.update({name: True for name, key in (("tools", "supports_function_calling"),
                                             ("images", "supports_vision")) if entry.get(key)})
    if entry.get("supports_response_schema"):
        out["json"] = True
    if entry["mode"] == "embedding":
        out["embeddings"] = True
    return out


def names_of(table, providers, platform):
    for key, entry in table.items():
        provider = entry.get("litellm_provider")
        if provider not in providers or entry.get("mode") not in MODES:
            continue
        name = key[len(provider) + 1:] if key.startswith(provider + "/") else key
        if platform not in ("together", "groq") and "/" in name or "@" in name:
            continue  # a region, or another platform's way to write it
        if platform == "bedrock" and not any(
                name.startswith(b) or name.split(".", 1)[-1].startswith(b) for b in BEDROCK):
            continue
        if not any(word in name for word in OTHER_BILLS):
            yield name, entry


def text(value):
    if value is True:
        return "true"
    return f"{value:.8f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def write_head(day):
    versions = {p: importlib.metadata.version(p) for p in ("litellm", "genai-prices")}
    print("# Prices in dollars per million tokens, limits in tokens, and abilities of models, by\n"
          "# platform and the platform's own name of the model. Written by scripts/models.py. A\n"
          "# price is here if both tables below state it; what begins on a later day is told by\n"
          "# genai-prices alone, limits and abilities by LiteLLM. What is not stated is not known.\n"
          "# page: where the platform itself states its prices. docs/prices.md tells the members.")
    print(f"date: {day}\nsources:")
    print(f"  LiteLLM: {{version: {versions['litellm']}, table: model_prices_and_context_window, "
          f"read: {day}}}")
    print(f"  genai-prices: {{version: {versions['genai-prices']}, table: prices/providers, "
          f"read: {day}}}")
    print("platforms:")
    for platform, (_, _, host, page) in PLATFORMS.items():
        print(f"  {platform}: {{host: \"{host}\", page: \"{page}\"}}")


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--day", required=True, help="when the tables were read")
    day = options.parse_args().day
    from genai_prices.data import providers  # pylint: disable=import-outside-toplevel
    by_id = {p.id: p for p in providers}
    home = pathlib.Path(importlib.util.find_spec("litellm").submodule_search_locations[0])
    table = json.loads((home / "model_prices_and_context_window_backup.json").read_text("utf-8"))
    write_head(day)
    print("models:")
    for platform, (ours, theirs, _, _) in PLATFORMS.items():
        left, lines = collections.defaultdict(list), {}
        for name, entry in names_of(table, ours, platform):
            model = next((m for m in by_id[theirs].models if m.match.is_match(name)), None)
            record = find_price(entry, model, day) if model else None
            if entry.get("deprecation_date", "9") <= day:
                left["retired"].append(name)
            elif not entry.get("input_cost_per_token"):
                left["free or without a price"].append(name)
            elif model is None:
                left["in one table alone"].append(name)
            elif record is None:
                left["stated differently"].append(name)
            else:
                lines[name] = [figures(entry, model, record)]
                lines[name] += [later_figures(lines[name][0], *more)
                                for more in announced(model, day)]
        for name in sorted(lines):
            told = ["{" + ", ".join(f"{k}: {text(v)}" for k, v in line.items())
                    + f", source: {'genai-prices' if 'from' in line else BOTH}, checked: {day}}}"
                    for line in lines[name]]
            print(f"  \"{platform}/{name}\": " + told[0] if len(told) == 1 else
                  f"  \"{platform}/{name}\":\n    - " + "\n    - ".join(told))
        print(f"{platform}: {len(lines)} models;", "; ".join(
            f"{why}: {', '.join(sorted(set(names)))}" for why, names in left.items()),
              file=sys.stderr)


if __name__ == "__main__":
    main()
