"""The session fixtures: when clusters are made, shared, prepared and stopped."""

from __future__ import annotations

from collections.abc import Callable

import pytest

Events = Callable[[], list[str]]

ONE_BOOT = ["start 1.36.3/1", "components 1.36.3/1", "ready 1.36.3/1", "stopping 1.36.3/1", "stop 1.36.3/1"]


def test_one_cluster_serves_the_session(suite: pytest.Pytester, events: Events) -> None:
    """All tests share one cluster, which is prepared, looked at a last time, and stopped."""
    suite.makepyfile(
        """
        def test_a(kubernix, kubernix_kubectl, kubernix_kubeconfig):
            assert kubernix.version == "1.36.3"
            assert kubernix.nodes == ("node-1",)
            assert kubernix.kubectl is kubernix_kubectl
            assert kubernix.kubeconfig == kubernix_kubeconfig
            assert kubernix.status().state.value == "ready"

        def test_b(kubernix):
            assert kubernix.config.driver == "fake"
        """
    )
    suite.runpytest().assert_outcomes(passed=2)
    assert events() == ONE_BOOT


def test_the_root_conftest_changes_the_configuration(suite: pytest.Pytester, events: Events) -> None:
    """An overridden kubernix_config is what the cluster is made from."""
    conftest = suite.path / "conftest.py"
    conftest.write_text(
        conftest.read_text(encoding="utf-8")
        + """
@pytest.fixture(scope="session")
def kubernix_config(kubernix_config):
    return kubernix_config.replace(nodes=3)
""",
        encoding="utf-8",
    )
    suite.makepyfile("def test_a(made_for): assert made_for == '1.36.3/3'")
    suite.runpytest("--kubernix-nodes=2").assert_outcomes(passed=1)
    assert events()[0] == "start 1.36.3/3"


def test_an_override_that_comes_too_late_is_an_error(suite: pytest.Pytester, events: Events) -> None:
    """A test never runs on a cluster made from another configuration than its directory's."""
    suite.makepyfile(test_a="def test_a(kubernix): pass")
    folder = suite.mkpydir("zone")
    (folder / "conftest.py").write_text(
        "import pytest\n@pytest.fixture(scope='session')\n"
        "def kubernix_config(kubernix_config): return kubernix_config.replace(nodes=3)\n"
    )
    (folder / "test_z.py").write_text("def test_z(kubernix): pass\n")
    result = suite.runpytest("test_a.py", "zone")
    result.assert_outcomes(passed=1, errors=1)
    conftest = folder / "conftest.py"
    told = "this test has the kubernix_config of {}, but the session's clusters were made from that of {} ({}). *"
    result.stdout.fnmatch_lines([told.format(conftest, "the options", "nodes: 3 here, 1 there")])
    assert [event for event in events() if event.startswith("start")] == ["start 1.36.3/1"]
    result = suite.runpytest("zone", "test_a.py")
    result.stdout.fnmatch_lines([told.format("the options", conftest, "nodes: 1 here, 3 there")])


def test_a_configuration_that_is_none_is_told(suite: pytest.Pytester, events: Events) -> None:
    """An override that returns anything else says what it should have returned."""
    suite.makepyfile(
        """
        import pytest
        @pytest.fixture(scope="session")
        def kubernix_config(): return {"nodes": 3}
        def test_a(kubernix): pass
        """
    )
    result = suite.runpytest()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["kubernix_config returned {'nodes': 3}; allowed is a ClusterConfig, such as *"])
    assert events() == []


def test_a_failed_boot_says_why_and_is_not_repeated(
    suite: pytest.Pytester, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Component, reason, end of the log and place of the rest are shown, without our own stack; once is enough."""
    monkeypatch.setenv("FAKE_FAILS", "boot")
    suite.makepyfile(
        """
        import pytest
        def test_a(kubernix): pass
        @pytest.mark.kubernix(nodes=2)
        def test_b(kubernix): pass
        def test_c(kubernix): pass
        """
    )
    result = suite.runpytest()
    result.assert_outcomes(errors=3)
    result.stdout.fnmatch_lines(
        [
            "*phase ControlPlane failed*",
            "*fake-apiserver: exited with code 1*",
            "*the last line*",
            "*logs of all components are in /nowhere/logs*",
        ]
    )
    result.stdout.no_fnmatch_line("*factory.py*")
    assert [event for event in events() if event.startswith("start")] == ["start 1.36.3/1", "start 1.36.3/2"]


def test_a_driver_that_refuses_names_the_option(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """What only the driver can find wrong is told by the name that the user typed."""
    monkeypatch.setenv("FAKE_FAILS", "root")
    suite.makepyfile("def test_a(kubernix): pass")
    result = suite.runpytest("--kubernix-root=/a/long/way")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*--kubernix-root=/a/long/way: allowed is a shorter path*"])


def test_a_failing_ready_hook_stops_the_cluster(
    suite: pytest.Pytester, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cluster that could not be prepared is no cluster for tests, and does not stay."""
    monkeypatch.setenv("FAKE_FAILS", "ready")
    suite.makepyfile("def test_a(kubernix): pass")
    result = suite.runpytest()
    result.assert_outcomes(errors=1)
    failed = "pytest_kubernix_cluster_ready (conftest.py:115) failed: RuntimeError: the ready hook failed"
    result.stdout.fnmatch_lines([failed])
    result.stdout.no_fnmatch_line("*factory.py*")
    # No test got to see it, so there is nothing to look at a last time.
    assert events() == [event for event in ONE_BOOT if not event.startswith("stopping")]


def test_a_cluster_without_a_directory_can_be_kept(suite: pytest.Pytester, events: Events) -> None:
    """Another driver's cluster, which need not have files of its own here, is left with the commands for it."""
    suite.makepyfile("def test_a(kubernix): pass")
    result = suite.runpytest("--kubernix-keep=always")
    result.assert_outcomes(passed=1)
    result.stdout.re_match_lines([r"  remove it: pytest-kubernix down \w+$"])
    assert [event for event in events() if event.startswith(("keep", "stop "))] == ["keep 1.36.3/1"]


def test_the_factory_makes_another_cluster_each_time(suite: pytest.Pytester, events: Events) -> None:
    """Each call boots one; all are stopped at the end, the youngest first, those that a test stopped only once."""
    suite.makepyfile(
        """
        def test_a(kubernix, kubernix_cluster_factory):
            one = kubernix_cluster_factory(nodes=2)
            two = kubernix_cluster_factory(nodes=2, k8s_version="1.33")
            assert len({id(kubernix), id(one), id(two)}) == 3
            one.stop()
            one.stop()
        """
    )
    suite.runpytest("--kubernix-api-port=7000", "--kubernix-cidr=10.9.0.0/16").assert_outcomes(passed=1)
    assert [event for event in events() if event.startswith("st") and "stopping" not in event] == [
        "start 1.36.3/1",
        "start 1.36.3/2",
        "start 1.33.13/2",
        "stop 1.36.3/2",
        "stop 1.33.13/2",
        "stop 1.36.3/1",
    ]


def test_another_cluster_takes_no_port_or_network_of_the_first(suite: pytest.Pytester) -> None:
    """What a machine has once stays with the suite's own cluster."""
    suite.makepyfile(
        """
        def test_a(kubernix, kubernix_cluster_factory):
            assert (kubernix.config.api_port, kubernix.config.cidr) == (7000, "10.9.0.0/16")
            other = kubernix_cluster_factory().config
            assert (other.api_port, other.cidr) == (0, None)
            chosen = kubernix_cluster_factory(api_port=7001).config
            assert chosen.api_port == 7001
        """
    )
    suite.runpytest("--kubernix-api-port=7000", "--kubernix-cidr=10.9.0.0/16").assert_outcomes(passed=1)


def test_the_factory_raises_real_errors(suite: pytest.Pytester) -> None:
    """A suite can catch what goes wrong, and a wrong setting names what there is."""
    suite.makepyfile(
        """
        import pytest
        from pytest_kubernix import ConfigError, DriverError

        def test_a(kubernix_cluster_factory, monkeypatch):
            with pytest.raises(ConfigError, match="node=1: no such setting; there are .*nodes"):
                kubernix_cluster_factory(node=1)
            with pytest.raises(ConfigError, match="k8s_version=1.2: not supported; allowed"):
                kubernix_cluster_factory(k8s_version="1.2")
            with pytest.raises(DriverError, match="driver=nobody: allowed is native or fake"):
                kubernix_cluster_factory(driver="nobody")
            monkeypatch.setenv("FAKE_FAILS", "check")
            with pytest.raises(DriverError, match="no fake clusters on this machine"):
                kubernix_cluster_factory()
        """
    )
    suite.runpytest().assert_outcomes(passed=1)


def test_every_cluster_is_stopped_although_one_fails_to(
    suite: pytest.Pytester, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end goes on past failures, and reports all of them."""
    monkeypatch.setenv("FAKE_FAILS", "stop")
    suite.makepyfile("def test_a(kubernix, kubernix_cluster_factory): kubernix_cluster_factory(nodes=2)")
    result = suite.runpytest()
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines_random(["*1.36.3/2 would not stop*", "*1.36.3/1 would not stop*"])
    assert events()[-1] == "stop 1.36.3/1"


def test_pristine_on_a_driver_without_etcd_says_what_does_without(suite: pytest.Pytester) -> None:
    """Where a cluster can't be rolled back, the fixture is an error that names the fixture that works everywhere."""
    suite.makepyfile("def test_a(kubernix_pristine): pass")
    result = suite.runpytest()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*kubernix_pristine: checkpoint: driver 'fake' has no access*", "*kubernix_namespace*"]
    )
