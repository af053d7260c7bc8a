"""The plan as data, held by golden files; KUBERNIX_UPDATE_GOLDEN=1 rewrites them after a change that is meant."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_kubernix import plain
from pytest_kubernix.components import register_all
from pytest_kubernix.config import ClusterConfig
from pytest_kubernix.plan import HostFacts, Plan, make_plan
from pytest_kubernix.plan.render import redact, render

GOLDEN = Path(__file__).parent / "golden"

CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "control-plane-only": ({"nodes": 0}, {}),
    "prepared-data": ({"nodes": 0}, {"etcd_data": "/cache/etcd/1.36.3"}),
    "one-node": ({"nodes": 1}, {}),
    "two-nodes": ({"nodes": 2}, {}),
    "without-dns-and-egress": ({"nodes": 1, "addons": ("none",)}, {"egress_program": ""}),
    "restricted-machine": ({"nodes": 1, "log_level": "debug"}, {"can_lower_oom_score": False}),
}


@pytest.mark.parametrize("case", CASES)
def test_the_whole_plan_is_what_was_agreed(
    case: str, config: Callable[..., ClusterConfig], facts: Callable[..., HostFacts]
) -> None:
    """A change of any flag, file, probe or command of a cluster shows up as a difference to read."""
    settings, machine = CASES[case]
    text = render(make_plan(config(**settings), facts(**machine), register_all))
    golden = GOLDEN / f"{case}.txt"
    if os.environ.get("KUBERNIX_UPDATE_GOLDEN"):
        golden.write_text(text)
    assert text.splitlines() == golden.read_text().splitlines()


def test_a_plan_survives_the_way_to_the_guardian(
    config: Callable[..., ClusterConfig], facts: Callable[..., HostFacts]
) -> None:
    """What the guardian carries out is exactly what was planned."""
    plan = make_plan(config(nodes=2), facts(), register_all)
    assert plain.from_json(Plan, plain.to_json(plan)) == plan


def test_rendered_plans_show_no_key(config: Callable[..., ClusterConfig], facts: Callable[..., HostFacts]) -> None:
    """A dry run can be pasted into an issue: no private key, no certificate, no encryption key is in it."""
    given = facts()
    text = render(make_plan(config(nodes=1), given, register_all))
    assert "BEGIN" not in text
    assert given.encryption_key not in text
    assert "LS0tLS1CRUdJTi" not in text, "the base64 of a PEM header"


def test_redacting_leaves_the_rest_alone() -> None:
    """Only keys and certificates are hidden from a rendered file."""
    pem = "-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----\n"
    assert redact(f"before\n{pem}after") == "before\n<private key>\nafter"
