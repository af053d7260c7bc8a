"""What plugins make of a cluster's components, as a digest for each: two clusters with the same ones run the same.
Built from a plan that is never carried out, so that ports, keys and paths do not count."""

from __future__ import annotations

import hashlib

from ..config import ClusterConfig
from .assemble import make_context
from .component import ComponentRegistry
from .context import HostFacts
from .render import render_component


def fingerprint(
    config: ClusterConfig, facts: HostFacts, usual: ComponentRegistry, plugged: ComponentRegistry
) -> dict[str, str]:
    """The components that plugins add or change.

    Args:
        config: What was asked for.
        facts: Of a dry run.
        usual: This package's own components.
        plugged: The same after plugins had their say.

    Returns:
        Component → a digest of what it would run.
    """
    ctx = make_context(config, facts)
    before = {plan.name: plan for plan in usual.build(ctx)}
    return {
        plan.name: hashlib.sha256("\n".join(render_component(plan)).encode()).hexdigest()[:16]
        for plan in plugged.build(ctx)
        if plan != before.get(plan.name)
    }
