#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks of the source tree: lint.py ROOT BUILD CHECK...; 'lint.py --list' names the checks.

Each check is a function below; its first sentence is the rule. A problem is one line
'FILE:LINE: what is wrong'. The last line counts checks: 'N passed, N failed'.
"""
import concurrent.futures
import fnmatch
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

LAYERS = ["base", "math", "encoder", "data", "store", "router", "eval", "net", "wire",
          "upstream", "gateway", "classify", "cli"]
FILE_LINES_MAX = 700
FUNCTION_LINES_MAX = 100
SKIPPED_FOLDERS = {".git", "__pycache__", ".venv"}


class Tree:
    """The files of the project and where its build is."""

    def __init__(self, root, build):
        self.root, self.build = pathlib.Path(root), pathlib.Path(build)
        self.files = []
        for folder, names, files in os.walk(self.root):
            names[:] = [n for n in names if n not in SKIPPED_FOLDERS and not n.startswith("build")]
            self.files += [pathlib.Path(folder, f).relative_to(self.root) for f in files
                           if f not in SKIPPED_FOLDERS]
        self.files.sort()
        self._texts = {}

    def text(self, path):
        if path not in self._texts:
            self._texts[path] = (self.root / path).read_text(encoding="utf-8", errors="replace")
        return self._texts[path]

    def lines(self, path):
        return enumerate(self.text(path).split("\n"), 1)

    def matching(self, *patterns):
        return [f for f in self.files if any(fnmatch.fnmatch(str(f), p) for p in patterns)]

    def sources(self):
        return [f for f in self.matching("*.c", "*.h") if str(f) != "src/cli/verbs.c.in"]


def check_layers(tree):
    """A layer includes itself, the layers before it, and public headers."""
    for path in tree.matching("src/*.c", "src/*.h", "include/*.h"):
        own = path.parts[1] if path.parts[0] == "src" else None
        for number, line in tree.lines(path):
            found = re.match(r'\s*#\s*include\s+"([^"/]+)/', line)
            if not found or found.group(1) == "metallm":
                continue
            if own is None:
                yield f"{path}:{number}: a public header includes an inner one"
            elif found.group(1) not in LAYERS:
                yield f"{path}:{number}: '{found.group(1)}' is no layer"
            elif LAYERS.index(found.group(1)) > LAYERS.index(own):
                yield f"{path}:{number}: {own} includes {found.group(1)}, which stands above it"


def check_libraries(tree):
    """The headers of a chosen library are included in one layer alone."""
    places = {
        "oneapi/": {"encoder"},
        "dnnl": {"encoder"},
        "cblas.h": {"math"},
        "lapacke.h": {"math"},
        "openblas": {"math"},
        "sqlite3.h": {"store"},
        "yaml.h": {"data", "gateway"},
        "uv.h": {"net"},
        "curl/": {"encoder", "upstream"},
        "llhttp.h": {"net"},
        "openssl/ssl.h": {"net"},
        "openssl/": {"net", "gateway"},
    }
    for path in tree.matching("src/*.c", "src/*.h"):
        for number, line in tree.lines(path):
            found = re.match(r"\s*#\s*include\s+[<\"]([^>\"]+)", line)
            for prefix, layers in places.items():
                if found and found.group(1).startswith(prefix) and path.parts[1] not in layers:
                    yield f"{path}:{number}: <{found.group(1)}> belongs in {', '.join(layers)}"


def check_registration(tree):
    """Every C file is built: its name, or the list it is made from, stands in a meson.build."""
    builds = "\n".join(tree.text(f) for f in tree.matching("*meson.build"))
    words = set(re.findall(r"[\w.-]+", builds))
    for path in tree.matching("*.c"):
        bare = re.sub(r"^(test|verb|fuzz|bench)_", "", path.stem)
        if path.name not in words and bare not in words:
            yield f"{path}: stands in no meson.build"


def check_spdx(tree):
    """Every source file names its licence in its first lines."""
    for path in tree.matching("src/*.[ch]", "include/*.h", "tests/*.[ch]", "tests/*.py",
                              "examples/*.c", "bench/*.[ch]", "bench/*.py", "scripts/*"):
        if path.suffix in {".txt", ".md", ".json"} or path.name == "cache-dir":
            continue
        if "SPDX-License-Identifier: Apache-2.0" not in tree.text(path)[:400]:
            yield f"{path}:1: no SPDX line"


def check_lengths(tree):
    """No file over 700 lines, no function over 100 (half have fewer than 20)."""
    for path in tree.matching("src/*.[ch]", "include/*.h", "tests/*.c", "examples/*.c",
                              "bench/*.c"):
        lines = tree.text(path).split("\n")
        if len(lines) > FILE_LINES_MAX:
            yield f"{path}: {len(lines)} lines, at most {FILE_LINES_MAX}"
        start = None
        for number, line in enumerate(lines, 1):
            if line == "{":
                start = number
            elif line == "}" and start is not None:
                if number - start - 1 > FUNCTION_LINES_MAX:
                    yield f"{path}:{start}: a function of {number - start - 1} lines"
                start = None


def check_leftovers(tree):
    """No open marks, no paths of one machine, no addresses of package indexes."""
    marks = re.compile(r"\b(TODO|FIXME|XXX)\b(?!\()")
    places = re.compile(r"(?<![\w.])/(?:work|root|home/\w+)/|\bpypi\.org|pythonhosted\.org|"
                        r"deb\.debian\.org|npmjs\.org")
    for path in tree.files:
        if path.parts[:2] == ("tests", "lint") or "corpus" in path.parts or path.name == "LICENSE":
            continue
        if path.suffix in {".jsonl", ".csv", ".json", ".safetensors", ".bin", ".png"}:
            continue
        for number, line in tree.lines(path):
            found = marks.search(line) or places.search(line)
            if found:
                yield f"{path}:{number}: '{found.group(0)}' is left over"


def check_quiet_library(tree):
    """The library neither prints nor exits: only src/cli does."""
    banned = re.compile(r"(?<![\w>.])(printf|puts|putchar|perror|exit|_exit|abort|setlocale|"
                        r"rand|srand|vprintf)\s*\(|(?<![\w>.])(stdout|stderr)\b")
    for path in tree.matching("src/*.c"):
        if path.parts[1] == "cli":
            continue
        text = re.sub(r"/\*.*?\*/", lambda m: re.sub(r"[^\n]", " ", m.group(0)), tree.text(path),
                      flags=re.DOTALL)
        text = re.sub(r'"(?:[^"\\\n]|\\.)*"', '""', text)
        for number, line in enumerate(text.split("\n"), 1):
            found = banned.search(line)
            # A broken contract of our own is the one reason to stop, in one place.
            if found and str(path) != "src/base/error.c":
                yield f"{path}:{number}: '{found.group(1) or found.group(2)}' in the library"


def compile_alone(command, header):
    done = subprocess.run([*command, "-"], input=f'#include "{header}"\n', text=True,
                          capture_output=True, check=False)
    if done.returncode != 0:
        return [f"{header}: does not compile alone: {(done.stderr.splitlines() or ['?'])[0]}"]
    return []


def check_headers(tree):
    """Every header compiles alone: the public ones as strict C11 and as C++, ours as C11.

    Not so the bodies that are compiled once for each instruction set, with its flags."""
    per_instruction_set = re.compile(r"/(simd_\w+|\w+_impl)\.h$")
    includes = [f"-I{tree.root / 'include'}", f"-I{tree.root / 'src'}"]
    packages = json.loads((tree.build / "meson-info/intro-dependencies.json").read_text())
    for package in packages:
        for argument in package.get("compile_args", []):
            if argument.startswith(("-I", "-isystem")):
                includes.append(argument)
    for name in ("yyjson", "llhttp"):
        own = re.search(rf"-isystem (\S*{name}\S*)", (tree.build / "build.ninja").read_text())
        if own:
            includes.append(f"-isystem{own.group(1)}")
    c11 = ["gcc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-xc"]
    jobs = []
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for path in tree.matching("include/metallm/*.h"):
            name = str(path.relative_to("include"))
            jobs.append(pool.submit(compile_alone, [*c11, "-pedantic", includes[0]], name))
            if shutil.which("clang"):
                cxx = ["clang", "-xc++", "-std=c++11", "-Wall", "-Werror", "-fsyntax-only"]
                jobs.append(pool.submit(compile_alone, [*cxx, includes[0]], name))
        for path in tree.matching("src/*.h"):
            if per_instruction_set.search(str(path)):
                continue
            jobs.append(pool.submit(compile_alone, [*c11, "-D_GNU_SOURCE", *includes],
                                    str(path.relative_to("src"))))
    for job in jobs:
        yield from job.result()


def defined_symbols(path, *arguments):
    done = subprocess.run(["nm", "--defined-only", "-g", *arguments, str(path)], text=True,
                          capture_output=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip())
    for line in done.stdout.splitlines():
        fields = line.split()
        if len(fields) == 3 and not fields[2].startswith(("__asan", "__odr_asan", "__sanitizer")):
            yield fields[2]


def check_symbols(tree):
    """The shared library shows metallm_ names alone; inside, every global has its layer's prefix."""
    shared = tree.build / "src/libmetallm.so"
    for name in defined_symbols(shared, "-D"):
        if not name.startswith("metallm_") or name.startswith("metallm__"):
            yield f"{shared.name}: shows '{name}'"
    prefixes = {layer: ("metallm_",) for layer in LAYERS}
    prefixes["cli"] = ("cli_", "metallm_")
    for layer, allowed in prefixes.items():
        library = tree.build / f"src/{layer}/lib{layer}.a"
        if library.exists():
            for name in defined_symbols(library):
                if not name.startswith(allowed):
                    yield f"src/{layer}: global '{name}' does not begin with {allowed[0]}"


def check_api(tree):
    """What a public header declares is in the shared library, and nothing else is."""
    declared = set()
    for path in tree.matching("include/metallm/*.h"):
        text = re.sub(r"/\*.*?\*/", " ", tree.text(path), flags=re.DOTALL)
        declared |= set(re.findall(r"METALLM_API[^;{]*?\b(metallm_\w+)\s*\(", text))
    shown = set(defined_symbols(tree.build / "src/libmetallm.so", "-D"))
    for name in sorted(declared - shown):
        yield f"{name}: declared in a public header, and not in the library"
    for name in sorted(shown - declared):
        yield f"{name}: in the library, and declared in no public header"


def check_documents(tree):
    """What a document names exists: paths in backquotes and links to files of the project."""
    tops = ("src/", "tests/", "docs/", "include/", "scripts/", "bench/", "examples/", "web/", ".ci/")
    for path in tree.matching("*.md"):
        for number, line in tree.lines(path):
            named = [n.split(":")[0].split("#")[0] for n in re.findall(r"`([^`\s]+)`", line)]
            links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", line)
            here = [n for n in named if n.startswith(tops) and not re.search(r"[A-Z]{3,}|[<{]", n)]
            there = [link for link in links if "://" not in link and not link.startswith("mailto")]
            for name, base in [(n, tree.root) for n in here] + [
                (link, (tree.root / path).parent) for link in there
            ]:
                if not any(base.glob(name)) if "*" in name else not (base / name).exists():
                    yield f"{path}:{number}: '{name}' does not exist"


def verb_options(tool):
    """{verb: its long options} as the tool itself tells."""
    overview = subprocess.run([tool, "help"], text=True, capture_output=True, check=True).stdout
    verbs = re.findall(r"^  ([a-z]+) ", overview, re.MULTILINE)
    found = {}
    for verb in verbs:
        page = subprocess.run([tool, "help", verb], text=True, capture_output=True, check=True)
        found[verb] = set(re.findall(r"(?<![\w-])--([a-z][a-z0-9-]*)", page.stdout)) | {"help"}
    return found


def check_commands(tree):
    """Verbs and options that documents and examples type are the tool's own."""
    known = verb_options(str(tree.build / "metallm"))
    for path in tree.matching("*.md", "scripts/*"):
        text = tree.text(path).replace("\\\n", " ")
        for command in re.findall(r"(?<![\w-])metallm(?:\"|')? ([a-z]+\b[^\n`|;]*)", text):
            verb = command.split()[0]
            if verb not in known:
                if "--" in command:
                    yield f"{path}: no verb '{verb}': metallm {command.strip()[:60]}"
                continue
            for option in re.findall(r"(?<![\w-])--([a-z][a-z0-9-]*)", command):
                if option not in known[verb]:
                    yield f"{path}: metallm {verb} has no option --{option}"


def check_man_pages(tree):
    """The man pages are sound troff (where mandoc is there to tell)."""
    if shutil.which("mandoc") is None:
        return
    for page in sorted(tree.build.glob("metallm*.[15]")):
        done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", str(page)], text=True,
                              capture_output=True, check=False)
        for line in done.stdout.splitlines():
            if "missing date" not in line:
                yield line.replace(str(page), page.name)


def check_format(tree):
    """C files stand as clang-format 14 would lay them ('make format')."""
    tool = shutil.which("clang-format-14")
    if tool is None:
        return
    files = [str(tree.root / f) for f in tree.sources() if f.suffix in {".c", ".h"}]
    done = subprocess.run([tool, "--dry-run", *files], text=True, capture_output=True, check=False)
    seen = sorted({line.split(":")[0] for line in done.stderr.splitlines() if ": warning:" in line})
    for name in seen:
        yield f"{pathlib.Path(name).relative_to(tree.root)}: not formatted"


CHECKS = {name[6:]: value for name, value in list(globals().items()) if name.startswith("check_")}


def main(arguments):
    if arguments == ["--list"]:
        for name, check in CHECKS.items():
            print(f"{name:16} {check.__doc__}")
        return 0
    tree = Tree(arguments[0], arguments[1])
    failed = 0
    names = arguments[2:] or list(CHECKS)
    for name in names:
        problems = list(CHECKS[name](tree))
        failed += bool(problems)
        for problem in problems:
            print(problem)
        if problems:
            print(f"  ^ {name}: {CHECKS[name].__doc__}")
    print(f"{len(names) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
