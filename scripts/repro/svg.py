# SPDX-License-Identifier: Apache-2.0
"""Figures as SVG: lines with bands and points, and stacked shares. Equal input gives equal bytes."""
import math
from html import escape

COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#6a3d9a", "#8c564b",
           "#7f7f7f", "#000000", "#bcbd22", "#17becf"]
WIDTH, HEIGHT = 720, 420
LEFT, RIGHT, TOP, BOTTOM = 70, 210, 40, 56


def number(v):
    return f"{v:.2f}".rstrip("0").rstrip(".")


def label(v):
    if v == 0:
        return "0"
    if abs(v) >= 0.001 and abs(v) < 100000:
        return f"{v:.4g}"
    return f"{v:.0e}".replace("e-0", "e-").replace("e+0", "e")


def linear_ticks(low, high, wanted=6):
    if high <= low:
        return [low]
    raw = (high - low) / wanted
    unit = 10 ** math.floor(math.log10(raw))
    step = next(unit * m for m in (1, 2, 2.5, 5, 10) if unit * m >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def log_ticks(low, high):
    ticks = [m * 10.0 ** e for e in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
             for m in ((1, 3) if high / low < 1e3 else (1,))]
    return [t for t in ticks if low * 0.999 <= t <= high * 1.001]


class Axis:
    """From values to pixels."""

    def __init__(self, values, start, end, is_log=False, margin=0.04):
        values = [v for v in values if v is not None and math.isfinite(v) and (v > 0 or not is_log)]
        low, high = (min(values), max(values)) if values else (0, 1)
        if low == high:
            low, high = (low / 2, high * 2) if is_log else (low - 0.5, high + 0.5)
        self.is_log, self.start, self.end = is_log, start, end
        self.low, self.high = self.to(low), self.to(high)
        pad = (self.high - self.low) * margin
        self.low, self.high = self.low - pad, self.high + pad
        self.ticks = log_ticks(low, high) if is_log else linear_ticks(self.low, self.high)

    def to(self, v):
        return math.log10(v) if self.is_log else v

    def at(self, v):
        return self.start + (self.to(v) - self.low) / (self.high - self.low) * (self.end - self.start)


class Figure:
    def __init__(self, title, x_label, y_label):
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
            f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
            f'<text x="{LEFT}" y="22" font-size="14" font-weight="bold">{escape(title)}</text>',
            f'<text x="{(LEFT + WIDTH - RIGHT) // 2}" y="{HEIGHT - 12}" text-anchor="middle">'
            f'{escape(x_label)}</text>',
            f'<text transform="translate(16 {(TOP + HEIGHT - BOTTOM) // 2}) rotate(-90)" '
            f'text-anchor="middle">{escape(y_label)}</text>']
        self.legend = 0

    def frame(self, x, y):
        bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
        for t in x.ticks:
            px = number(x.at(t))
            self.parts.append(f'<path d="M{px} {TOP}V{bottom}" stroke="#e6e6e6"/>'
                              f'<text x="{px}" y="{bottom + 16}" text-anchor="middle">{label(t)}</text>')
        for t in y.ticks:
            py = number(y.at(t))
            self.parts.append(f'<path d="M{LEFT} {py}H{right}" stroke="#e6e6e6"/>'
                              f'<text x="{LEFT - 6}" y="{py}" dy="4" text-anchor="end">{label(t)}</text>')
        self.parts.append(f'<path d="M{LEFT} {TOP}V{bottom}H{right}" stroke="#444" fill="none"/>')

    def entry(self, name, colour, kind, is_dashed=False):
        name = name.rsplit("/", 1)[-1]
        dash = ' stroke-dasharray="5 4"' if is_dashed else ""
        y = TOP + 10 + 18 * self.legend
        x = WIDTH - RIGHT + 12
        mark = (f'<circle cx="{x + 9}" cy="{y}" r="4" fill="{colour}"/>' if kind == "point" else
                f'<path d="M{x} {y}h18" stroke="{colour}" stroke-width="{9 if kind == "area" else 2}"{dash}/>')
        self.parts.append(f'{mark}<text x="{x + 24}" y="{y}" dy="4">{escape(name[:30])}</text>')
        self.legend += 1

    def text(self):
        return "\n".join(self.parts + ["</svg>"]) + "\n"


def line_plot(title, x_label, y_label, series, is_log_x=False, marks=()):
    """series: [{"name", "x", "y", "low"?, "high"?, "points"? (no line)}]; marks: [(x, text)]."""
    xs = [v for s in series for v in s["x"]]
    ys = [v for s in series for k in ("y", "low", "high") for v in s.get(k, [])]
    x = Axis(xs, LEFT, WIDTH - RIGHT, is_log_x)
    y = Axis(ys, HEIGHT - BOTTOM, TOP)
    fig = Figure(title, x_label, y_label)
    fig.frame(x, y)
    for at, text in marks:
        px = number(x.at(at))
        fig.parts.append(f'<path d="M{px} {TOP}V{HEIGHT - BOTTOM}" stroke="#444" stroke-dasharray="4 3"/>'
                         f'<text x="{px}" y="{TOP - 4}" text-anchor="middle" font-size="10">'
                         f'{escape(text)}</text>')
    for i, s in enumerate(series):
        colour = s.get("colour", COLOURS[i % len(COLOURS)])
        points = [(x.at(a), y.at(b)) for a, b in zip(s["x"], s["y"])
                  if b is not None and math.isfinite(b) and (a > 0 or not is_log_x)]
        if s.get("low"):
            band = ([(x.at(a), y.at(b)) for a, b in zip(s["x"], s["high"])] +
                    [(x.at(a), y.at(b)) for a, b in reversed(list(zip(s["x"], s["low"])))])
            fig.parts.append('<polygon points="' + " ".join(f"{number(a)},{number(b)}" for a, b in band) +
                             f'" fill="{colour}" fill-opacity="0.15"/>')
        if s.get("points"):
            fig.parts += [f'<circle cx="{number(a)}" cy="{number(b)}" r="4" fill="{colour}"/>'
                          for a, b in points]
        elif points:
            path = "M" + "L".join(f"{number(a)} {number(b)}" for a, b in points)
            dash = ' stroke-dasharray="5 4"' if s.get("dashed") else ""
            fig.parts.append(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
        fig.entry(s["name"], colour, "point" if s.get("points") else "line", s.get("dashed"))
    return fig.text()


def share_plot(title, x_label, names, x_values, shares, is_log_x=False):
    """Stacked shares: shares[i][j] of names[j] at x_values[i]."""
    x = Axis(x_values, LEFT, WIDTH - RIGHT, is_log_x, margin=0)
    y = Axis([0, 1], HEIGHT - BOTTOM, TOP, margin=0)
    fig = Figure(title, x_label, "share of queries")
    floor = [0.0] * len(x_values)
    for j, name in enumerate(names):
        top = [f + s[j] for f, s in zip(floor, shares)]
        outline = ([(x.at(a), y.at(b)) for a, b in zip(x_values, top)] +
                   [(x.at(a), y.at(b)) for a, b in reversed(list(zip(x_values, floor)))])
        colour = COLOURS[j % len(COLOURS)]
        fig.parts.append('<polygon points="' + " ".join(f"{number(a)},{number(b)}" for a, b in outline) +
                         f'" fill="{colour}" fill-opacity="0.8"/>')
        fig.entry(name, colour, "area")
        floor = top
    fig.frame(x, y)
    return fig.text()
