# SPDX-License-Identifier: Apache-2.0
"""Result files: Markdown with tables, CSV, SVG. A page is built in memory and written at its end."""
import csv
import io
import math
import os
import pathlib


def cell(value, digits=4):
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.{digits}f}"
    return str(value)


def interval(value, low, high, digits=4):
    if value is None or low is None:
        return cell(value, digits)
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def money(value):
    """Dollars with three significant digits."""
    if value is None or not math.isfinite(value):
        return "-"
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{digits}f}"


class Page:
    """One Markdown page and the CSV and SVG files it links to."""

    def __init__(self, folder, name, title):
        self.folder, self.name = pathlib.Path(folder), name
        self.lines, self.files = [f"# {title}", ""], {}

    def text(self, *paragraphs):
        for p in paragraphs:
            self.lines += [p, ""]

    def head(self, title, level=2):
        self.lines += ["#" * level + " " + title, ""]

    def table(self, columns, rows, digits=4):
        self.lines.append("| " + " | ".join(columns) + " |")
        self.lines.append("|" + "---|" * len(columns))
        for row in rows:
            self.lines.append("| " + " | ".join(cell(v, digits) for v in row) + " |")
        self.lines.append("")

    def csv(self, name, columns, rows):
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(columns)
        for row in rows:
            writer.writerow([f"{v:.6g}" if isinstance(v, float) else "" if v is None else v for v in row])
        self.files[f"{self.name}-{name}.csv"] = out.getvalue()
        self.lines += [f"Numbers: [{self.name}-{name}.csv]({self.name}-{name}.csv)", ""]

    def figure(self, name, svg, caption):
        self.files[f"{self.name}-{name}.svg"] = svg
        self.lines += [f"![{caption}]({self.name}-{name}.svg)", "", caption, ""]

    def save(self):
        """Files of an earlier run with this page's prefix that are no longer made go away."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.files[f"{self.name}.md"] = "\n".join(self.lines).rstrip() + "\n"
        for old in self.folder.glob(f"{self.name}-*"):
            if old.name not in self.files:
                old.unlink()
        for name, content in self.files.items():
            part = self.folder / f".{name}.part"
            part.write_text(content, encoding="utf-8")
            os.replace(part, self.folder / name)


def mean(values):
    values = list(values)
    return math.fsum(values) / len(values) if values else float("nan")


def mean_interval(values):
    """Mean and its 95 % interval over a few independent runs (Student's t)."""
    values = list(values)
    n, m = len(values), mean(values)
    if n < 2:
        return m, None, None
    sd = math.sqrt(math.fsum((v - m) ** 2 for v in values) / (n - 1))
    table = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262,
             14: 2.145, 19: 2.093}
    half = table.get(n - 1, 2.0) * sd / math.sqrt(n)
    return m, m - half, m + half
