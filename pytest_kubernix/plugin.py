"""The pytest hooks of this plugin, and nothing else: options, markers, header, fixtures.
Imports the standard library and pytest only; everything else waits until a test asks for a cluster."""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

from . import hookspecs, options
from .fixtures import markers, overrides, reporting

if TYPE_CHECKING:
    from .cluster import Cluster

# By name, and not imported above: pytest wants to see them first, and warns of those it comes too late for.
pytest_plugins = (
    "pytest_kubernix.fixtures.session",
    "pytest_kubernix.fixtures.namespace",
    "pytest_kubernix.fixtures.pristine",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the table."""
    options.add_options(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Let other plugins implement our hooks."""
    pluginmanager.add_hookspecs(hookspecs)


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers; this runs for `--help` too, so it does nothing else."""
    for line in markers.MARKERS:
        config.addinivalue_line("markers", line)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Check the options, before anything is collected or any worker is started."""
    from .drivers.registry import DriverRegistry

    config = session.config
    registry = DriverRegistry()
    config.hook.pytest_kubernix_drivers(registry=registry)
    config.stash[options.REGISTRY] = registry
    config.stash[options.SESSION_OPTIONS] = options.read(config, registry.names())


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a pytest-xdist worker which process outlives it, so that clusters last until the run is over."""
    node.workerinput["kubernix_controller"] = os.getpid()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what a pytest-xdist worker has to say at the end."""
    config: pytest.Config = node.config
    config.stash.setdefault(options.KEPT, []).extend(getattr(node, "workeroutput", {}).get("kubernix_kept", []))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Give the controller what this worker has to say, and end what session fixtures kept."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["kubernix_kept"] = session.config.stash.setdefault(options.KEPT, [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say which clusters stay, how to reach them, and how to remove them; each once."""
    kept: list[str] = config.stash.setdefault(options.KEPT, [])
    for text in dict.fromkeys(kept):
        terminalreporter.write_line(f"kubernix: {text}")


def pytest_report_header(config: pytest.Config) -> list[str]:
    """One line: which clusters this session would make; and one for each variable with a slip of the pen."""
    cluster = config.stash[options.SESSION_OPTIONS].cluster
    first = f"kubernix: driver {cluster.driver}, Kubernetes {cluster.k8s_version}, nodes {cluster.nodes}"
    return [first, *(f"kubernix: {line}" for line in options.mistyped())]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Check our marks, and turn `@pytest.mark.kubernix(...)` into a parameter of the `kubernix` fixture.

    A session fixture can't see the marks of a test, and session fixtures of the suite may have prepared
    one cluster (a CRD, say) and not the other. As a parameter, pytest does both: it tells the fixture, and
    it renews what depends on it.
    """
    marks = list(metafunc.definition.iter_markers("kubernix"))
    requirements = list(metafunc.definition.iter_markers("kubernix_requires"))
    private = "kubernix_pristine" in metafunc.fixturenames and _shares(metafunc.config)
    if not marks and not requirements and not private:
        return
    try:
        changes = markers.wanted_changes(marks)
        markers.check_requirements(requirements)
    except ValueError as error:
        # The one error that pytest shows without a traceback, with the file it is about.
        raise pytest.Collector.CollectError(f"{metafunc.definition.name}: {error}") from None
    if "kubernix" not in metafunc.fixturenames or not (changes or private):
        return
    # A test has one name, with workers and without them, where pytest can hide a parameter (from 8.4 on).
    name: Any = ",".join(f"{key}={value}" for key, value in sorted(changes.items()))
    name = name or getattr(pytest, "HIDDEN_PARAM", "pristine")
    wanted = markers.one_of_each(metafunc.config, changes, private=private)
    metafunc.parametrize("kubernix", [wanted], ids=[name], indirect=True, scope="session")


def _shares(config: pytest.Config) -> bool:
    """Whether other workers of this run use the same cluster, as far as the options tell."""
    return hasattr(config, "workerinput") and config.stash[options.SESSION_OPTIONS].scope != "worker"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let the report of a failed test say how its cluster is; after all others had their say on what failed is."""
    report = yield
    reporting.explain(item, call, report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Refuse our marks on items that can't honour them: those that are no test functions have no parameters."""
    report = yield
    refused = [
        f"{item.nodeid}: {problem}"
        for item in report.result or ()
        if isinstance(item, pytest.Item) and (problem := markers.refused(item, shares=_shares(collector.config)))
    ]
    if refused:
        report.outcome = "failed"
        report.longrepr = "\n".join(refused)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Generator[None, object, object]:
    """Note where a suite's `kubernix_config` comes from; see `overrides`."""
    value = yield
    if fixturedef.argname == "kubernix_config":
        overrides.remember(fixturedef, value, request.config)
    return value


def pytest_kubernix_report_sections(cluster: Cluster, namespace: str | None, since: float) -> list[tuple[str, str]]:
    """Pods, events and logs of a failed test's cluster, and its components that are not well."""
    return reporting.own_sections(cluster, namespace, since)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Let the fixture behind `@pytest.mark.kubernix_requires(...)` come before all others."""
    if isinstance(item, pytest.Function) and item.get_closest_marker("kubernix_requires"):
        item.fixturenames.insert(0, "_kubernix_requirements")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, None, None]:
    """Refuse a `kubernix_config` that came too late to shape the cluster, and marks that came too late to choose it."""
    __tracebackhide__ = True
    markers.remember_item(item)
    yield
    overrides.refuse_late(item)
