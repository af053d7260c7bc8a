"""The timeline of a boot as a picture: a bar for each component, from its start to its readiness, phase by phase.
Plain SVG, written by hand; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

from ..handle import Event

WIDTH = 1040
LABELS = 230
RIGHT = 96
TOP = 96
ROW = 28
BAR = 16
TEXT = 40
BOTTOM = 34
TICKS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0)

INK, FAINT, GRID, BAD = "#1f2933", "#7b8794", "#e4e7eb", "#c81e1e"
SET_UP = "Namespaces"
# Bar and band of each phase in turn; told apart by brightness too, for eyes that see few colours.
COLORS = (("#2f6fb5", "#eef4fb"), ("#d97917", "#fdf4e9"), ("#3d8b4f", "#eef7f0"), ("#7c4fa5", "#f5f0fa"))
GREY = ("#9aa5b1", "#ffffff")


@dataclass
class Bar:
    """One line of the picture.

    Attributes:
        name: What it is about.
        begin: Seconds since the boot began.
        end: The same, or None for what did not get there.
    """

    name: str
    begin: float
    end: float | None = None


@dataclass
class Group:
    """A phase, or the setting up of namespaces, with the bars of its members."""

    bar: Bar
    members: list[Bar] = field(default_factory=list)


@dataclass
class Boot:
    """A boot as it is drawn.

    Attributes:
        groups: From top to bottom.
        end: When the boot was over, in seconds.
        verdict: "ready", "failed", or "" while it goes on.
    """

    groups: list[Group]
    end: float
    verdict: str


def read(events: Sequence[Event]) -> Boot:
    """What the events of `Diagnostics.timeline` say of the boot; what happened after it is left out.

    Args:
        events: In order; the first one is the beginning of the boot.
    """
    begin = events[0].at if events else 0.0
    events = [Event(name, what, at - begin) for name, what, at in events]
    last = next(((what, at) for name, what, at in events if name == "cluster" and what != "begins"), None)
    verdict, end = last or ("", max((at for _, _, at in events), default=0.0))
    set_up = Group(Bar(SET_UP, 0.0))
    phases: list[Group] = []
    bars: dict[str, Bar] = {}
    homes: dict[str, Group] = {}
    for name, what, at in events:
        if at > end or name == "cluster":
            continue
        if what == "begins":
            phases.append(Group(Bar(name, at)))
        elif what == "ends" and phases:
            phases[-1].bar.end = at
        elif what == "set up":
            set_up.members.append(Bar(name, 0.0, at))
            set_up.bar.end = at
        elif what == "awaited" and phases:
            homes.setdefault(name, phases[-1])
        elif what == "spawned":
            bars.setdefault(name, Bar(name, at))
        elif what == "let go" and name in bars:
            # What it loaded until then cost no time.
            bars[name].begin = at
        elif what == "ready" and name in bars and bars[name].end is None:
            bars[name].end = at
    for name, bar in bars.items():
        # Most start before their phase begins. What a failed boot never came to wait for is shown where it ended.
        homes.get(name, phases[-1] if phases else set_up).members.append(bar)
    groups = [*([set_up] if set_up.members else []), *phases]
    return Boot(groups, end, verdict)


def draw(events: Sequence[Event], *, title: str) -> str:
    """The picture, as the text of an SVG file.

    Args:
        events: As for `read`.
        title: Its heading, such as "Kubernetes 1.36.3, 2 nodes".
    """
    boot = read(events)
    rows = sum(1 + len(group.members) for group in boot.groups)
    height = TOP + rows * ROW + BOTTOM
    scale = (WIDTH - LABELS - RIGHT) / (boot.end or 1.0)
    parts = [*_frame(boot, title, height, scale)]
    top = TOP
    for group, colors in zip(boot.groups, _colors(boot.groups), strict=True):
        parts += _row(group.bar, top, scale, boot, colors[0], heading=True)
        for bar in group.members:
            top += ROW
            parts += _row(bar, top, scale, boot, colors[0], heading=False)
        top += ROW
    body = "\n".join(f"  {part}" for part in parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"\n'
        f'     font-family="Inter, system-ui, \'Segoe UI\', \'DejaVu Sans\', sans-serif" font-size="13" fill="{INK}">\n'
        f"{body}\n</svg>\n"
    )


def _colors(groups: Sequence[Group]) -> list[tuple[str, str]]:
    phases = [group for group in groups if group.bar.name != SET_UP]
    return [GREY if group not in phases else COLORS[phases.index(group) % len(COLORS)] for group in groups]


def _frame(boot: Boot, title: str, height: int, scale: float) -> list[str]:
    """Paper, heading, bands of phases, axis, and the line that says how it ended."""
    verdicts = {"ready": f"ready after {boot.end:.2f} s", "failed": f"failed after {boot.end:.2f} s"}
    verdict = verdicts.get(boot.verdict, f"not ready after {boot.end:.2f} s")
    color = INK if boot.verdict == "ready" else BAD
    floor = height - BOTTOM
    parts = [
        f"<title>{escape(title)}: {verdict}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="20" y="34" font-size="18" font-weight="600">{escape(title)}</text>',
        f'<text x="20" y="56" fill="{color if boot.verdict != "ready" else FAINT}">Boot timeline: {verdict}</text>',
    ]
    for group, (_, band) in zip(boot.groups, _colors(boot.groups), strict=True):
        if group.bar.name != SET_UP:
            begin = LABELS + group.bar.begin * scale
            width = max(1.0, ((boot.end if group.bar.end is None else group.bar.end) - group.bar.begin) * scale)
            parts.append(_rect(begin, TOP - 6, width, floor - TOP + 6, band))
    step = next((tick for tick in TICKS if boot.end / tick <= 10), TICKS[-1])
    for number in range(int(boot.end / step + 1e-9) + 1):
        x = LABELS + number * step * scale
        parts.append(f'<line x1="{x:.1f}" y1="{TOP - 6}" x2="{x:.1f}" y2="{floor}" stroke="{GRID}"/>')
        label = f"{number * step:g} s"
        parts.append(
            f'<text x="{x:.1f}" y="{TOP - 14}" text-anchor="middle" font-size="11" fill="{FAINT}">{label}</text>'
        )
    x = LABELS + boot.end * scale
    dashes = f'stroke="{color}" stroke-width="1.5" stroke-dasharray="4 3"'
    parts.append(f'<line x1="{x:.1f}" y1="{TOP - 6}" x2="{x:.1f}" y2="{floor + 6}" {dashes}/>')
    word = boot.verdict or "now"
    parts.append(
        f'<text x="{x:.1f}" y="{floor + 20}" text-anchor="middle" font-size="12" font-weight="600" '
        f'fill="{color}">{word}</text>'
    )
    return parts


def _row(bar: Bar, top: float, scale: float, boot: Boot, color: str, *, heading: bool) -> list[str]:
    """Label, bar and duration; the bar of a heading is a thin one."""
    end = boot.end if bar.end is None else bar.end
    x, width = LABELS + bar.begin * scale, max(2.0, (end - bar.begin) * scale)
    middle = top + ROW / 2
    failed = bar.end is None and boot.verdict != "ready"
    fill = BAD if failed else color
    words = f"{bar.name}: {bar.begin:.2f} s to {end:.2f} s"
    weight, indent = (' font-weight="600"', 20) if heading else ("", 34)
    thick = 4 if heading else BAR
    took = "never ready" if failed else f"{end - bar.begin:.2f} s"
    small = f'font-size="11" fill="{BAD if failed else INK if heading else FAINT}"{weight}'
    beyond = x + width + 6
    line = LABELS + boot.end * scale
    if beyond - 6 < line + 6 and beyond + TEXT > line:
        # The line that says when all was over would run through it.
        beyond = line + 6
    return [
        f'<text x="{indent}" y="{middle + 4.5:.1f}"{weight}>{escape(bar.name)}</text>',
        f"<g><title>{escape(words)}</title>"
        + _rect(x, middle - thick / 2, width, thick, fill, radius=thick / 2 if heading else 3)
        + "</g>",
        f'<text x="{beyond:.1f}" y="{middle + 4:.1f}" {small}>{took}</text>',
    ]


def _rect(x: float, y: float, width: float, height: float, fill: str, *, radius: float = 0) -> str:
    rounded = f' rx="{radius:g}"' if radius else ""
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{fill}"{rounded}/>'
