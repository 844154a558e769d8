# SPDX-License-Identifier: Apache-2.0
"""Runs the `metallm` tool. Results of finished calls are kept in the work folder, by the tool's bytes
and the call, so that a run that was stopped goes on where it was."""
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys


class Tool:
    def __init__(self, binary, work):
        self.binary, self.work = pathlib.Path(binary), pathlib.Path(work)
        self.work.mkdir(parents=True, exist_ok=True)
        self.version = hashlib.sha256(self.binary.read_bytes()).hexdigest()[:16]
        self.environment = dict(os.environ, OPENBLAS_NUM_THREADS="1", LC_ALL="C")

    def call(self, *arguments, stdin=None, stdout=None):
        arguments = [str(a) for a in arguments]
        done = subprocess.run([str(self.binary), *arguments], stdin=stdin or subprocess.DEVNULL,
                              stdout=stdout or subprocess.PIPE, stderr=subprocess.PIPE,
                              env=self.environment, check=False)
        if done.returncode != 0:
            sys.exit(f"reproduce: metallm {' '.join(arguments)}\n"
                     f"{done.stderr.decode('utf-8', 'replace')}")
        return done.stdout

    def key(self, arguments, depends):
        parts = [self.version, *map(str, arguments)]
        for d in depends:
            parts.append(hashlib.sha256(pathlib.Path(d).read_bytes()).hexdigest())
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]

    @staticmethod
    def unfinished(path):
        """Where a file is written until it is whole: each run its own, so that two can share a cache."""
        return path.with_name(f"{path.name}.{os.getpid()}.part")

    def json(self, *arguments, depends=()):
        """The object that the call prints. depends: files whose content matters."""
        kept = self.work / "calls" / (self.key(arguments, depends) + ".json")
        if not kept.exists():
            kept.parent.mkdir(exist_ok=True)
            text = self.call(*arguments)
            part = self.unfinished(kept)
            part.write_bytes(text)
            os.replace(part, kept)
        return json.loads(kept.read_text(encoding="utf-8"))

    def file(self, name, *arguments, depends=()):
        """A file made by the call; the argument "@" stands for its path."""
        path = self.work / "files" / f"{self.key(arguments, depends)}-{name}"
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            part = self.unfinished(path)
            part.unlink(missing_ok=True)
            self.call(*[part if a == "@" else a for a in arguments])
            os.replace(part, path)
        return path

    def stream(self, name, source_path, *arguments, depends=()):
        """A file of what the call prints when it reads source_path from standard input."""
        path = self.work / "files" / f"{self.key(arguments, [source_path, *depends])}-{name}"
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            part = self.unfinished(path)
            with open(source_path, "rb") as source, open(part, "wb") as out:
                self.call(*arguments, stdin=source, stdout=out)
            os.replace(part, path)
        return path

    def embed(self, texts_path):
        """A line {"tokens", "embedding"} for each line {"text"}."""
        return self.stream("vectors.jsonl", texts_path, "embed", "--json")


def peer_folder(cache):
    """The folder with paretobandit 0.1.1 and what it needs, installed into the cache when it is not
    there; None when the package index can't be had."""
    folder = cache / "peer"
    lock = pathlib.Path(__file__).with_name("requirements-peer.txt")
    ready = folder / "ready"
    if not ready.exists() or ready.read_text(encoding="utf-8") != lock.read_text(encoding="utf-8"):
        print("reproduce: installing paretobandit 0.1.1 into the cache", file=sys.stderr, flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        done = subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder),
                               "--disable-pip-version-check", "--requirement", str(lock)], check=False)
        if done.returncode != 0:
            print("reproduce: paretobandit can't be had from the package index (see above): its columns "
                  "stay empty", file=sys.stderr)
            return None
        ready.write_text(lock.read_text(encoding="utf-8"), encoding="utf-8")
    return folder


def run_peer(cache, work, jobs):
    """Traces of paretobandit on these jobs; see peer.py."""
    folder = peer_folder(cache)
    if folder is None:
        return None
    script = pathlib.Path(__file__).with_name("peer.py")
    text = json.dumps(jobs, sort_keys=True)
    name = hashlib.sha256((text + script.read_text(encoding="utf-8")).encode()).hexdigest()[:24]
    out = work / "files" / f"{name}-peer.json"
    if not out.exists():
        out.parent.mkdir(exist_ok=True)
        order = work / "files" / f"{name}-jobs.json"
        order.write_text(text, encoding="utf-8")
        part = out.with_suffix(".part")
        subprocess.run([sys.executable, str(script), str(order), str(part)], check=True,
                       env=dict(os.environ, PYTHONPATH=str(folder), OPENBLAS_NUM_THREADS="1",
                                OMP_NUM_THREADS="1"))
        os.replace(part, out)
    return json.loads(out.read_text(encoding="utf-8"))
