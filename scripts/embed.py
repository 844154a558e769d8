#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes a C file that holds files as byte arrays: embed.py OUT.c NAME=PATH ...

Each becomes `const struct metallm__asset metallm__asset_NAME` (src/eval/page.h). NAME=FRAME+PAGE: the
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


def main():
    out, pairs = sys.argv[1], [a.split("=", 1) for a in sys.argv[2:]]
    with open(out, "w", encoding="ascii") as f:
        f.write('#include "eval/page.h"\n')
        for name, path in pairs:
            data = read(*path.split("+"))
            f.write(f"static const char bytes_{name}[] = {{\n")
            for i in range(0, len(data), 24):
                f.write(",".join(str(b if b < 128 else b - 256) for b in data[i:i + 24]) + ",\n")
            f.write(f"}};\nconst struct metallm__asset metallm__asset_{name} = "
                    f"{{bytes_{name}, {len(data)}}};\n")


if __name__ == "__main__":
    main()
