"""Options in a session: precedence, and what a wrong one says."""

from __future__ import annotations

from collections.abc import Callable

import pytest

SHOWS = """
    def test_shows(kubernix_config):
        print(f"nodes={kubernix_config.nodes} version={kubernix_config.k8s_version} root={kubernix_config.root}"
              f" addons={kubernix_config.addons}")
"""


def show(suite: pytest.Pytester, *args: str) -> str:
    """The line that the inner suite prints about its configuration."""
    suite.makepyfile(test_shows=SHOWS)
    result = suite.runpytest("-s", "-q", *args)
    result.assert_outcomes(passed=1)
    return next(line for line in result.outlines if line.startswith("nodes="))


def test_the_order_of_precedence(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Command line beats environment beats ini beats default."""
    assert show(suite).startswith("nodes=1 ")
    suite.makeini("[pytest]\nkubernix_nodes = 2\n")
    assert show(suite).startswith("nodes=2 ")
    monkeypatch.setenv("KUBERNIX_NODES", "3")
    assert show(suite).startswith("nodes=3 ")
    assert show(suite, "--kubernix-nodes=4").startswith("nodes=4 ")


def test_an_empty_variable_counts_as_unset(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """KUBERNIX_NODES= is how CI systems spell a variable that is not set."""
    monkeypatch.setenv("KUBERNIX_NODES", "")
    assert show(suite).startswith("nodes=1 ")


def test_an_ini_value_from_the_command_line(suite: pytest.Pytester) -> None:
    """-o changes an ini value, and a mistake in it is shown as it was typed."""
    assert show(suite, "-o", "kubernix_nodes=5").startswith("nodes=5 ")
    result = suite.runpytest("-o", "kubernix_nodes=65")
    result.stderr.fnmatch_lines(["ERROR: -o kubernix_nodes=65: allowed is *"])


def test_versions_are_resolved(suite: pytest.Pytester) -> None:
    """A minor release means its supported patch release."""
    assert "version=1.33.13 " in show(suite, "--kubernix-k8s-version=1.33")
    assert "version=1.33.13 " in show(suite, "--kubernix-k8s-version=v1.33.13")


def test_no_addons(suite: pytest.Pytester) -> None:
    """none is the empty list."""
    assert show(suite, "--kubernix-addons=none").endswith("addons=()")
    assert show(suite, "--kubernix-addons=coredns,coredns").endswith("addons=('coredns',)")


def test_paths_start_where_they_were_typed(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """A root from the command line is relative to where pytest was called; one from the ini, to the ini file."""
    suite.makeini("[pytest]\nkubernix_root = from-ini\n")
    folder = suite.mkdir("sub")
    suite.makepyfile(test_shows=SHOWS)
    monkeypatch.chdir(folder)
    for args, expected in (
        ((), suite.path / "from-ini"),
        (("--kubernix-root=typed",), folder / "typed"),
        (("--kubernix-root=/abs",), "/abs"),
    ):
        result = suite.runpytest("-s", "-q", f"--rootdir={suite.path}", "-c", "../tox.ini", "..", *args)
        result.stdout.fnmatch_lines([f"nodes=* root={expected} *"])


WRONG = [
    ("--kubernix-nodes=-1", "allowed is a whole number from 0 (control plane only) to 64"),
    ("--kubernix-nodes=65", "allowed is a whole number from 0 (control plane only) to 64"),
    ("--kubernix-nodes=two", "allowed is a whole number from 0 (control plane only) to 64"),
    ("--kubernix-driver=docker", "allowed is auto or native or fake"),
    ("--kubernix-k8s-version=1.2", "not supported; allowed are *1.36.3*"),
    ("--kubernix-k8s-version=newest", "not a Kubernetes version; allowed are *"),
    ("--kubernix-k8s-version=1.35,1.36", "one run takes one version so far: *"),
    ("--kubernix-cri-runtime=docker", "allowed is containerd"),
    ("--kubernix-cidr=10.0.0.0/28", "too small for 1 node: allowed is *"),
    ("--kubernix-cidr=ten", "allowed is an IPv4 network such as 10.10.0.0/16 *"),
    ("--kubernix-cidr=8.8.0.0/16", "allowed is a private IPv4 network *"),
    ("--kubernix-addons=dashboard", "allowed is coredns or none"),
    ("--kubernix-addons=coredns,none", "none stands alone: *"),
    ("--kubernix-api-port=80", "allowed is a port from 1024 to 65535, or 0 *"),
    ("--kubernix-api-port=http", "allowed is a port from 1024 to 65535, or 0 *"),
    ("--kubernix-boot-timeout=0", "allowed is a number of seconds from 1 to 3600"),
    ("--kubernix-boot-timeout=soon", "allowed is a number of seconds from 1 to 3600"),
    ("--kubernix-boot-timeout=nan", "allowed is a number of seconds from 1 to 3600"),
    ("--kubernix-log-level=loud", "allowed is debug or info or warning or error"),
]


@pytest.mark.parametrize(("flag", "allowed"), WRONG)
def test_a_wrong_value_is_a_usage_error(
    suite: pytest.Pytester, events: Callable[[], list[str]], flag: str, allowed: str
) -> None:
    """It names the option, the value and what is allowed, before anything is collected or started."""
    suite.makepyfile("def test_a(kubernix): pass")
    result = suite.runpytest(flag)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {flag}: {allowed}"])
    result.stdout.no_fnmatch_line("*collected*")
    assert events() == []


def test_what_is_there_once_has_no_spare(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two options that contradict each other are both named."""
    monkeypatch.setenv("KUBERNIX_CIDR", "10.10.0.0/16")
    result = suite.runpytest("--kubernix-spare=1", "--kubernix-api-port=7443")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    fixed = "--kubernix-api-port=7443 and KUBERNIX_CIDR=10.10.0.0/16"
    result.stderr.fnmatch_lines([f"ERROR: --kubernix-spare=1: allowed is 0 with {fixed}, which only one cluster *"])


def test_a_variable_with_a_slip_is_told(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """What looks like an option and is none is told in the header; what others call KUBERNIX_ is not."""
    monkeypatch.setenv("KUBERNIX_NODE", "3")
    monkeypatch.setenv("KUBERNIX_CACHE", "/cache")
    lines = [line for line in suite.runpytest().outlines if line.startswith("kubernix")]
    assert lines[1:] == ["kubernix: $KUBERNIX_NODE is no option; there is $KUBERNIX_NODES"]


def test_a_wrong_value_is_named_as_it_was_typed(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user who set a variable or an ini line does not have to translate the message."""
    suite.makeini("[pytest]\nkubernix_nodes = 65\n")
    suite.runpytest().stderr.fnmatch_lines(["ERROR: kubernix_nodes = 65 in tox.ini: allowed is *"])
    monkeypatch.setenv("KUBERNIX_NODES", "66")
    suite.runpytest().stderr.fnmatch_lines(["ERROR: KUBERNIX_NODES=66: allowed is *"])


@pytest.mark.skipif(pytest.version_tuple < (9, 0), reason="this pytest has no TOML table of its own")
def test_a_number_in_toml(suite: pytest.Pytester) -> None:
    """pytest's own TOML table has types, and a number where a text belongs is a usage error, not a crash."""
    (suite.path / "tox.ini").unlink()
    suite.makepyprojecttoml("[tool.pytest]\nkubernix_nodes = 2\n")
    result = suite.runpytest()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    # pytest says it itself in its newest releases; in older ones we do.
    result.stderr.fnmatch_lines(["ERROR: *kubernix_nodes*string*"])


def test_a_wrong_value_stops_xdist_once(suite: pytest.Pytester) -> None:
    """The controller finds it, before any worker is started."""
    suite.makepyfile("def test_a(): pass")
    result = suite.runpytest("-n2", "--kubernix-nodes=65")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert [line for line in result.errlines if "--kubernix-nodes=65" in line] == [
        "ERROR: --kubernix-nodes=65: allowed is a whole number from 0 (control plane only) to 64"
    ]


def test_a_driver_of_a_conftest_is_allowed(suite: pytest.Pytester) -> None:
    """The help of a wrong driver's name lists those that plugins add, and a name is taken only once."""
    result = suite.runpytest("--kubernix-driver=nobody")
    result.stderr.fnmatch_lines(["ERROR: --kubernix-driver=nobody: allowed is auto or native or fake"])
