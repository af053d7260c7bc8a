"""The markers in a session: which cluster a test gets, and when it is skipped."""

from __future__ import annotations

from collections.abc import Callable

import pytest

Events = Callable[[], list[str]]


def starts(events: Events) -> list[str]:
    """The clusters that were started, in order."""
    return [event.removeprefix("start ") for event in events() if event.startswith("start ")]


def test_a_marker_asks_for_a_particular_cluster(suite: pytest.Pytester, events: Events) -> None:
    """Each test gets the cluster that it asks for; those that ask for the same share it."""
    suite.makepyfile(
        """
        import pytest

        def test_plain(made_for):
            assert made_for == "1.36.3/1"

        @pytest.mark.kubernix(nodes=2)
        def test_two(made_for):
            assert made_for == "1.36.3/2"

        def test_plain_again(made_for):
            assert made_for == "1.36.3/1"

        @pytest.mark.kubernix(nodes=2, k8s_version="1.36")
        def test_two_again(made_for):
            assert made_for == "1.36.3/2"

        @pytest.mark.kubernix(k8s_version="1.33")
        class TestOld:
            def test_old(self, made_for):
                assert made_for == "1.33.13/1"

            @pytest.mark.kubernix(nodes=0)
            def test_both(self, made_for):
                assert made_for == "1.33.13/0"
        """
    )
    suite.runpytest("--strict-markers").assert_outcomes(passed=6)
    assert sorted(starts(events)) == ["1.33.13/0", "1.33.13/1", "1.36.3/1", "1.36.3/2"]


def test_session_fixtures_are_renewed_for_another_cluster(suite: pytest.Pytester) -> None:
    """What a suite prepared on one cluster is prepared on the other too."""
    suite.makepyfile(
        """
        import pytest

        @pytest.fixture(scope="session")
        def crd(kubernix):
            return f"crd on {len(kubernix.nodes)}"

        def test_one(crd):
            assert crd == "crd on 1"

        @pytest.mark.kubernix(nodes=2)
        def test_two(crd):
            assert crd == "crd on 2"

        def test_one_again(crd):
            assert crd == "crd on 1"
        """
    )
    suite.runpytest().assert_outcomes(passed=3)


def test_a_marker_that_changes_nothing_makes_no_cluster(suite: pytest.Pytester, events: Events) -> None:
    """Asking for what the suite has anyway gives the suite's own cluster, its port included."""
    suite.makepyfile(
        """
        import pytest

        @pytest.mark.kubernix(nodes=2)
        def test_a(kubernix):
            assert kubernix.config.api_port == 7000

        def test_b(kubernix):
            assert len(kubernix.nodes) == 2
        """
    )
    suite.runpytest("--kubernix-nodes=2", "--kubernix-api-port=7000").assert_outcomes(passed=2)
    assert starts(events) == ["1.36.3/2"]


def test_the_test_is_called_by_what_it_asks_for(suite: pytest.Pytester) -> None:
    """The report shows which cluster a test ran on, and its plain name still selects it."""
    suite.makepyfile(
        test_m="""
        import pytest

        @pytest.mark.kubernix(k8s_version="1.33", nodes=2)
        def test_a(kubernix): pass
        """
    )
    result = suite.runpytest("-v", "test_m.py::test_a")
    result.stdout.fnmatch_lines(["*test_m.py::test_a?k8s_version=1.33.13,nodes=2? PASSED*"])


@pytest.mark.parametrize(
    ("mark", "message"),
    [
        ("kubernix(nodes=65)", "@pytest.mark.kubernix(nodes=65): allowed is a whole number from 0 *"),
        ("kubernix(node=2)", "@pytest.mark.kubernix(node=2): no such setting; there are *nodes*"),
        ("kubernix(2)", "@pytest.mark.kubernix(2): allowed are settings by name, such as nodes=2"),
        ("kubernix(k8s_version='1.2')", "@pytest.mark.kubernix(k8s_version='1.2'): not supported; *"),
        ("kubernix(k8s_version=1.30)", "@pytest.mark.kubernix(k8s_version=1.3): allowed is a version as text, *"),
        ("kubernix_requires()", "*kubernix_requires(): allowed are version, capability, nodes and reason*"),
        ("kubernix_requires('nodes')", "*requires('nodes'): allowed are version, capability, nodes and reason*"),
        ("kubernix_requires(capability='node')", "*no such capability; did you mean 'nodes'?"),
        ("kubernix_requires(size=2)", "*requires(size=2): allowed are version, capability, nodes and reason*"),
        ("kubernix_requires(version='1.34')", "*(version='1.34'): allowed are comparisons such as *"),
    ],
)
def test_a_wrong_mark_is_found_at_collection(suite: pytest.Pytester, events: Events, mark: str, message: str) -> None:
    """It names the test, the mark and what is allowed, and nothing is started."""
    suite.makepyfile(f"import pytest\n@pytest.mark.{mark}\ndef test_a(kubernix): pass")
    result = suite.runpytest()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines([f"test_a: {message}"])
    assert events() == []


def test_requirements_skip_with_the_reason(suite: pytest.Pytester) -> None:
    """A test runs only where its cluster is and can do what it needs."""
    suite.makepyfile(
        """
        import pytest
        requires = pytest.mark.kubernix_requires

        @requires(version=">=1.33", capability="nodes")
        def test_met(kubernix): pass

        @requires(version=">=1.35")
        def test_version(kubernix): pass

        @requires(capability="etcd", reason="looks at keys")
        def test_capability(kubernix): pass

        @requires(nodes=2)
        def test_nodes(kubernix): pass

        @requires(nodes=2)
        @pytest.mark.kubernix(nodes=3)
        def test_enough_nodes(kubernix): pass

        @requires(capability="nodes")
        @pytest.mark.kubernix(nodes=0)
        def test_of_the_marked_cluster(kubernix): pass

        @requires(version=">=1.35")
        @pytest.mark.kubernix(k8s_version="1.36")
        def test_of_the_marked_version(made_for):
            assert made_for == "1.36.3/1"
        """
    )
    result = suite.runpytest("--kubernix-k8s-version=1.34", "-rs")
    result.assert_outcomes(passed=3, skipped=4)
    result.stdout.fnmatch_lines_random(
        [
            "*needs 2 nodes, and the cluster has 1",
            "*needs Kubernetes >=1.35, and the cluster is 1.34.4",
            "*needs a cluster with the capability 'etcd', and this one has nodes (looks at keys)",
            "*needs a cluster with the capability 'nodes', and this one has none",
        ]
    )


def test_requirements_come_before_other_fixtures(suite: pytest.Pytester) -> None:
    """A fixture that would fail on such a cluster is not set up at all."""
    suite.makepyfile(
        """
        import pytest

        @pytest.fixture(scope="session")
        def new_api(kubernix):
            raise RuntimeError("this cluster has no such API")

        @pytest.mark.kubernix_requires(version=">=9")
        def test_a(new_api): pass
        """
    )
    suite.runpytest().assert_outcomes(skipped=1)
