from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_kubernix.binaries import SUPPORTED, bundles
from pytest_kubernix.binaries.bundles import Bundle
from pytest_kubernix.errors import ExecutablesError


def test_digest_stays_while_nothing_changes(bundle: Bundle) -> None:
    """Two looks at the same sources give the same digest, as do different guesses of the time it takes."""
    assert bundle.digest() == replace(bundle, minutes=1, space=1).digest()


@pytest.mark.parametrize("file", ["main.go", "pins/1.0/go.mod.pin", "pins/1.0/go.sum.pin"])
def test_digest_follows_every_source(bundle: Bundle, file: str) -> None:
    """A changed source or pin is another digest, so that what was built of the old one is not run."""
    before = bundle.digest()
    path = bundles.SOURCES / "tool" / file
    path.write_text(path.read_text() + "// changed\n")
    assert bundle.digest() != before


def test_digest_follows_new_sources_in_folders(bundle: Bundle) -> None:
    """A new file counts, and so does the folder that it is in."""
    digests = {bundle.digest()}
    for folder in ("one", "two"):
        path = bundles.SOURCES / "tool" / folder / "more.go"
        path.parent.mkdir()
        path.write_text("package more\n")
        digests.add(bundle.digest())
        path.unlink()
    assert len(digests) == 3


def test_digest_follows_flags_and_architecture(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is stamped, tagged, linked or targeted differently is built again."""
    digests = {
        bundle.digest(),
        replace(bundle, stamps={"main.version": "2"}).digest(),
        replace(bundle, tags=("seccomp",)).digest(),
        replace(bundle, cgo=True).digest(),
    }
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert len(digests | {bundle.digest()}) == 5


@pytest.mark.parametrize("version", SUPPORTED)
def test_kubernetes_is_stamped_with_its_version(version: str) -> None:
    """Both version packages get the whole version, so that no component reports v0.0.0."""
    flags = " ".join(bundles.kubernetes(version).flags())
    for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version"):
        assert f"-X {package}.gitVersion=v{version} " in flags
        assert f"-X {package}.gitMinor={version.split('.')[1]} " in flags


def test_older_commands_are_picked_before_1_34() -> None:
    """The tag that picks the older shape of some commands is set exactly for versions below 1.34."""
    tagged = {version for version in SUPPORTED if bundles.kubernetes(version).tags}
    assert tagged == {"1.33.13", "1.32.2"}


def test_control_plane_alone_needs_one_bundle() -> None:
    """Without nodes only Kubernetes itself is built."""
    assert [bundle.name for bundle in bundles.bundles("1.36.3", nodes=False)] == ["kubernetes"]


@pytest.mark.parametrize(("system", "machine"), [("Darwin", "arm64"), ("Linux", "riscv64")])
def test_other_machines_are_told_so(monkeypatch: pytest.MonkeyPatch, system: str, machine: str) -> None:
    """Where no real node can run, the error names the machine and the drivers that work there."""
    monkeypatch.setattr("platform.system", lambda: system)
    monkeypatch.setattr("platform.machine", lambda: machine)
    with pytest.raises(ExecutablesError, match=f"{system} on {machine}") as caught:
        bundles.go_arch()
    assert "Linux on amd64 or arm64" in caught.value.hint


def test_version_without_pin_is_an_error(bundle: Bundle) -> None:
    """A version that was never pinned can't be built, and the error names the place of the pin."""
    with pytest.raises(ExecutablesError, match=r"tool 2\.0: .*pins/2\.0 has no go\.mod\.pin"):
        replace(bundle, version="2.0").digest()
