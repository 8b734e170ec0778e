"""Line charts as SVG, readable on light and dark pages, without a plotting library."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 40, 50
COLOURS = ("#3572b0", "#d9722e", "#3a9b5c", "#a05195")

Point = tuple[float, float]


def line_chart(
    title: str,
    x_label: str,
    y_label: str,
    lines: Mapping[str, Sequence[Point]],
    *,
    log_x: bool = False,
    y_range: tuple[float, float] | None = None,
) -> str:
    """Return a chart; every line has at least one point."""
    points = [point for line in lines.values() for point in line]
    scale = math.log10 if log_x else float
    x_ticks = sorted({x for x, _ in points}) if log_x else _ticks(0, max(x for x, _ in points))
    low, high = y_range or (0, max(y for _, y in points))
    y_ticks = _ticks(low, high)
    x_first, x_last = scale(x_ticks[0]), scale(x_ticks[-1])
    y_first, y_last = y_ticks[0], y_ticks[-1]

    def x_at(x: float) -> float:
        return LEFT + (scale(x) - x_first) / (x_last - x_first or 1) * (WIDTH - LEFT - RIGHT)

    def y_at(y: float) -> float:
        return HEIGHT - BOTTOM - (y - y_first) / (y_last - y_first or 1) * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        '<g font-family="sans-serif" font-size="12" fill="#333">',
        f'<text x="{WIDTH / 2}" y="22" font-size="15" text-anchor="middle">{escape(title)}</text>',
        f'<text x="{WIDTH / 2}" y="{HEIGHT - 10}" text-anchor="middle">{escape(x_label)}</text>',
        f'<g transform="translate(16 {HEIGHT / 2}) rotate(-90)" text-anchor="middle">',
        f"<text>{escape(y_label)}</text></g>",
    ]
    parts += [
        f'<path d="M{LEFT} {y_at(y):.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>'
        f'<text x="{LEFT - 8}" y="{y_at(y) + 4:.1f}" text-anchor="end">{_number(y)}</text>'
        for y in y_ticks
    ]
    parts += [
        f'<text x="{x_at(x):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{_number(x)}</text>'
        for x in x_ticks
    ]
    for number, (name, line) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(f"{x_at(x):.1f},{y_at(y):.1f}" for x, y in line)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        if len(line) <= 20:
            parts += [
                f'<circle cx="{x_at(x):.1f}" cy="{y_at(y):.1f}" r="3" fill="{colour}"/>' for x, y in line
            ]
        parts.append(
            f'<text x="{LEFT + 12}" y="{TOP + 14 + 16 * number}" fill="{colour}">{escape(name)}</text>'
        )
    return "\n".join([*parts, "</g>", "</svg>", ""])


def _ticks(low: float, high: float) -> list[float]:
    """Return about five round numbers that span a range."""
    rough = (high - low) / 5 or 1
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, last + 1)]


def _number(value: float) -> str:
    return f"{value:,.10g}"
