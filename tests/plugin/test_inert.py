"""A suite that asks for no cluster pays nothing.
Each run has a process of its own: what is imported is the question."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

# What a run that asks for no cluster must not pay for. (platformdirs is a pytest plugin itself, and always there.)
HEAVY = (
    "cryptography",
    "filelock",
    "kubernetes",
    "pytest_kubernix.boot",
    "pytest_kubernix.cluster",
    "pytest_kubernix.components",
    "pytest_kubernix.diagnostics",
    "pytest_kubernix.drivers.native.driver",
    "pytest_kubernix.fixtures.factory",
    "pytest_kubernix.fixtures.namespaces",
    "pytest_kubernix.kubectl",
    "pytest_kubernix.plan",
    "urllib3",
    "yaml",
)

RUN = """
import json, sys
import pytest
code = pytest.main({args!r})
loaded = [name for name in {heavy!r} if name in sys.modules]
print("\\n" + json.dumps([int(code), loaded, "pytest_kubernix.plugin" in sys.modules]))
"""


def run(pytester: pytest.Pytester, *args: str) -> tuple[int, list[str]]:
    """Run pytest in a process of its own; gives its exit code and the heavy modules that it loaded."""
    code = RUN.format(args=list(args), heavy=HEAVY)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=pytester.path, capture_output=True, text=True, check=True, timeout=50
    )
    exit_code, loaded, has_plugin = json.loads(done.stdout.splitlines()[-1])
    assert has_plugin, "the plugin was not there: this test would prove nothing"
    return exit_code, loaded


@pytest.mark.parametrize("arg", ["--help", "--markers", "--fixtures", "--collect-only"])
def test_looking_loads_nothing(pytester: pytest.Pytester, arg: str) -> None:
    """Help, markers, fixtures and collection import no heavy module."""
    pytester.makepyfile("def test_a(kubernix): pass")
    assert run(pytester, arg) == (0, [])


def test_a_suite_without_our_fixtures_pays_nothing(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing heavy is imported, nothing is started, nothing is written."""
    root = pytester.mkdir("root")
    monkeypatch.setenv("KUBERNIX_ROOT", str(root))
    pytester.makepyfile(
        """
        from pathlib import Path

        def test_a(tmp_path):
            for task in Path("/proc/self/task").iterdir():
                assert (task / "children").read_text() == ""
        """
    )
    assert run(pytester, "-p", "no:cacheprovider") == (0, [])
    assert list(root.iterdir()) == []


def test_help_never_fails(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong value in the environment does not keep anyone from the help."""
    monkeypatch.setenv("KUBERNIX_NODES", "two")
    assert run(pytester, "--help") == (0, [])


def test_importing_the_package_is_cheap() -> None:
    """The public names are there, and each is imported only when it is used."""
    code = (
        "import sys, pytest_kubernix as p; print([m for m in sys.modules if m.startswith('pytest_kubernix.')]);"
        "print(all(getattr(p, name) for name in p.__all__), set(p.__all__) <= set(dir(p)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=50)
    assert done.stdout.splitlines() == ["[]", "True True"]


def test_help_lists_every_option(pytester: pytest.Pytester) -> None:
    """Each option is there under its three names, with its default."""
    result = pytester.runpytest("--help")
    for word in ("driver", "nodes", "k8s-version", "cidr", "root", "api-port", "boot-timeout", "log-level"):
        result.stdout.fnmatch_lines([f"*--kubernix-{word}=*"])
        result.stdout.fnmatch_lines([f"*kubernix_{word.replace('-', '_')} (string):*"])


def test_a_guardian_loads_neither_keys_nor_clients() -> None:
    """The process that keeps a cluster starts in a tenth of a second: it has no library for keys, clients or tests."""
    code = (
        "import sys; import pytest_kubernix.guardian.server, pytest_kubernix.boot.engine; "
        "print(*sorted(name for name in sys.modules if name in "
        "{'cryptography', 'kubernetes', 'pytest', 'yaml', 'filelock', 'urllib3', 'packaging'}))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""
