#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes a C file that holds files as byte arrays: embed.py OUT.c NAME=PATH ...

With --text before OUT.c, `const char NAME[]` and `const size_t NAME_bytes`. Else each becomes `const struct metallm__asset metallm__asset_NAME` (src/eval/page.h). NAME=FRAME+PAGE: the
frame with what stands in PAGE before and inside of its <script>, at @BODY@ and @SCRIPT@."""
import sys


def read(path, page=None):
    with open(path, "rb") as source:
        data = source.read()
    if page is None:
        return data
    body, script = read(page).split(b"<script>\n")
    body = body.split(b"-->\n", 1)[1]
    script = script.split(b"</script>")[0]
    return data.replace(b"@BODY@\n", body).replace(b"@SCRIPT@\n", script)


def write_bytes(f, head, data):
    f.write(f"{head} = {{\n")
    for i in range(0, len(data), 24):
        f.write(",".join(str(b if b < 128 else b - 256) for b in data[i:i + 24]) + ",\n")


def write_texts(out, pairs):
    with open(out, "w", encoding="ascii") as f:
        f.write("#include <stddef.h>\n")
        for name, path in pairs:
            data = read(path)
            f.write(f"extern const char {name}[];\nextern const size_t {name}_bytes;\n")
            write_bytes(f, f"const char {name}[]", data)
            f.write(f"}};\nconst size_t {name}_bytes = {len(data)};\n")
    return 0


def main():
    if sys.argv[1] == "--text":
        return write_texts(sys.argv[2], [a.split("=", 1) for a in sys.argv[3:]])
    out, pairs = sys.argv[1], [a.split("=", 1) for a in sys.argv[2:]]
    with open(out, "w", encoding="ascii") as f:
        f.write('#include "eval/page.h"\n')
        for name, path in pairs:
            data = read(*path.split("+"))
            write_bytes(f, f"static const char bytes_{name}[]", data)
            f.write(f"}};\nconst struct metallm__asset metallm__asset_{name} = "
                    f"{{bytes_{name}, {len(data)}}};\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
