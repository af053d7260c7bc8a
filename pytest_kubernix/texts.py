"""Long texts made short for people, without losing what they are read for.
Pure; imports nothing of ours."""

from __future__ import annotations

import re

# Of a health check that failed: one line for each check, those that failed begin so ([-]etcd failed: reason withheld).
FAILED_CHECK = re.compile(r"^\[-\].*$", re.MULTILINE)


def shortened(text: str, limit: int) -> str:
    """A text of at most so many characters: what is too much is left out of the middle, since causes stand at the end.

    Args:
        text: The text.
        limit: Its longest length, at least 20.
    """
    if len(text) <= limit:
        return text
    gap = " … "
    head = (limit - len(gap)) // 3
    return text[:head] + gap + text[head + len(gap) - limit :]


def health(body: str, limit: int) -> str:
    """What a health endpoint of Kubernetes says is wrong: the checks that failed, or else the whole of its answer."""
    failed = FAILED_CHECK.findall(body)
    return shortened("; ".join(failed) if failed else body.strip(), limit)
