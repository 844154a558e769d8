# SPDX-License-Identifier: Apache-2.0
"""The data sets and where they are."""


class Set:
    """name; train, test: files with the outcomes that a router is fitted and measured on."""

    def __init__(self, name, train, test):
        self.name, self.train, self.test = name, train, test


def find(cache):
    """{name: Set}. ParetoBandit's two files come from the cache, where scripts/setup puts them."""
    val, holdout = (cache / "paretobandit" / n for n in ("val.jsonl", "test_holdout.jsonl"))
    return {"paretobandit": Set("paretobandit", val, holdout)}
