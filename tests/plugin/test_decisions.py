"""What a suite decides by overriding a fixture, whatever the options say."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .conftest import FAKE_DRIVER

Events = Callable[[], list[str]]


TELLING = """
original = FakeDriver.start
def start(self, config, options):
    tell(f"{options.share.name} {options.spares}")
    return original(self, config, options)
FakeDriver.start = start
"""


def decided(name: str, value: object) -> str:
    """A conftest that decides one thing."""
    return f"""{FAKE_DRIVER}
@pytest.fixture(scope="session")
def kubernix_{name}():
    return {value!r}
"""


def test_a_suite_decides_when_clusters_stay(suite: pytest.Pytester, events: Events) -> None:
    """`kubernix_keep` keeps a cluster that the option would end."""
    suite.makeconftest(decided("keep", "always"))
    suite.makepyfile("def test_a(kubernix): pass")
    suite.runpytest().assert_outcomes(passed=1)
    assert events()[-1] == "keep 1.36.3/1"


def test_a_suite_decides_who_shares(suite: pytest.Pytester) -> None:
    """`kubernix_scope` gives each worker a cluster of its own although the option shares one."""
    shares = """
    def test_a(kubernix_cluster_factory):
        print("KEY", repr(kubernix_cluster_factory._share.key))
    """
    suite.makepyfile(shares)
    shared = suite.runpytest_subprocess("-n1", "-rP")
    suite.makeconftest(decided("scope", "worker"))
    alone = suite.runpytest_subprocess("-n1", "-rP")
    shared.stdout.fnmatch_lines(["KEY '*/run/*'"])
    alone.stdout.fnmatch_lines(["KEY ''"])


def test_a_suite_decides_its_clusters_name_and_spares(suite: pytest.Pytester) -> None:
    """`kubernix_reuse` and `kubernix_spare` are what the driver is asked for."""
    suite.makeconftest(decided("reuse", "mine") + decided("spare", 2).removeprefix(FAKE_DRIVER) + TELLING)
    suite.makepyfile("def test_a(kubernix): pass")
    suite.runpytest().assert_outcomes(passed=1)
    assert "mine 2" in (suite.path / "events.txt").read_text()


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("keep", "sometimes", "never or on-failure or always"),
        ("scope", "all", "session or worker"),
        ("reuse", "-x", "up to 63 letters*"),
        ("spare", 9, "a whole number from 0 to 8"),
        ("spare", "2", "int 2*"),
    ],
)
def test_a_wrong_decision_is_told(
    suite: pytest.Pytester, events: Events, name: str, value: object, allowed: str
) -> None:
    """A fixture that returns what no option could be is named, with its value and what is allowed."""
    suite.makeconftest(decided(name, value))
    suite.makepyfile("def test_a(kubernix): pass")
    result = suite.runpytest()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"*kubernix_{name}={value}: allowed *{allowed}*"])
    assert not [event for event in events() if event.startswith("start")]


def test_the_hook_and_the_tests_have_one_cluster(suite: pytest.Pytester) -> None:
    """What pytest_kubernix_cluster_ready was given is what tests get, with all that was done to it."""
    suite.makeconftest(f"{FAKE_DRIVER}\nseen = []\ndef pytest_kubernix_cluster_ready(cluster): seen.append(cluster)\n")
    suite.makepyfile(
        """
        from conftest import seen

        def test_a(kubernix, kubernix_cluster_factory):
            assert [kubernix] == seen
            other = kubernix_cluster_factory(nodes=0)
            assert [kubernix, other] == seen
        """
    )
    suite.runpytest().assert_outcomes(passed=1)
