"""Hooks that plugins of this plugin implement, in a conftest or in a distribution of their own.
A driver or a component from outside is one function here; nothing of ours has to change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .cluster import Cluster
    from .config import ClusterConfig
    from .drivers.registry import DriverRegistry
    from .plan.component import ComponentRegistry


@pytest.hookspec
def pytest_kubernix_drivers(registry: DriverRegistry) -> None:
    """Add drivers, with `registry.register(name, factory)`.

    Called when the session starts, before the options are checked: a conftest that implements it must be
    one that pytest loads at once (in the root directory, or in one that is named on the command line).
    """


@pytest.hookspec
def pytest_kubernix_components(registry: ComponentRegistry, config: ClusterConfig) -> None:
    """Add components to a cluster that is about to boot, or replace some.

    Called by drivers that boot their components themselves, once for each plan of a cluster. With
    `--kubernix-spare` it is also called to find out which spares would do, and by the thread that boots them.
    """


@pytest.hookspec
def pytest_kubernix_cluster_ready(cluster: Cluster) -> None:
    """Prepare a cluster that has just become ready, before any test sees it.

    Called once for each cluster that a run boots, by one of its workers; and once in each run for one that
    `--kubernix-reuse` finds, so it should do no harm to do it again, as with `kubectl apply`. An error raised here
    fails the tests that asked for the cluster, and stops it unless it was found.
    """


@pytest.hookspec
def pytest_kubernix_report_sections(cluster: Cluster, namespace: str | None, since: float) -> list[tuple[str, str]]:
    """Say something of a cluster in the report of a failed test that used it.

    Called once for each such cluster. An error raised here becomes a section, and no failure.

    Args:
        cluster: A cluster that the test used.
        namespace: The test's own namespace there, or None.
        since: When the test began, in seconds since the epoch.

    Returns:
        Title and text of each section.
    """
    return []


@pytest.hookspec
def pytest_kubernix_used_clusters(item: pytest.Item, values: Mapping[str, object]) -> list[Cluster]:
    """Say which clusters a failed test used beside those of our own fixtures.

    Args:
        item: The test.
        values: Name → value of the fixtures that it used.
    """
    return []


@pytest.hookspec
def pytest_kubernix_cluster_stopping(cluster: Cluster) -> None:
    """Look at a cluster a last time; it is stopped when every implementation has returned.

    An error raised here is reported once the cluster is stopped.
    """
