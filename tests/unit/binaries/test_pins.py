from __future__ import annotations

import re

import pytest

from pytest_kubernix.binaries import DEFAULT_VERSION, SUPPORTED, bundles, resolve
from pytest_kubernix.binaries import pins as versions


@pytest.mark.parametrize(
    ("spec", "version"),
    [
        ("1.36.3", "1.36.3"),
        ("v1.36.3", "1.36.3"),
        (" 1.33.13 ", "1.33.13"),
        ("1.35", "1.35.4"),
        ("v1.33", "1.33.13"),
        ("latest", "1.36.3"),
        ("default", DEFAULT_VERSION),
    ],
)
def test_resolve_understands_every_way_to_name_a_version(spec: str, version: str) -> None:
    """An exact version, one with a v, a minor, and the two words all resolve."""
    assert resolve(spec) == version


@pytest.mark.parametrize("spec", ["1.36.4", "1.3", "2", "1.36.", "", "newest", "1.36.3.1", "-1"])
def test_resolve_names_the_value_and_what_is_allowed(spec: str) -> None:
    """A version that is not supported is an error with the value and every version that is."""
    with pytest.raises(ValueError, match=re.escape(repr(spec))) as caught:
        resolve(spec)
    assert all(version in str(caught.value) for version in SUPPORTED)


def test_latest_compares_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The latest of 1.9.2 and 1.10.1 is 1.10.1, whatever their order as text or in the table."""
    table = {"1.9.2": "", "1.10.1": "", "1.10.0": ""}
    monkeypatch.setattr(versions, "KUBERNETES", table)
    monkeypatch.setattr(versions, "SUPPORTED", tuple(table))
    assert (resolve("latest"), resolve("1.10")) == ("1.10.1", "1.10.1")


def test_every_supported_version_is_pinned_and_no_other() -> None:
    """The table and the pins beside the Go sources are the same versions."""
    assert {path.name for path in (bundles.SOURCES / "kubernetes" / "pins").iterdir()} == set(SUPPORTED)
    assert DEFAULT_VERSION in SUPPORTED


@pytest.mark.parametrize("version", SUPPORTED)
def test_table_has_the_etcd_that_is_linked(version: str) -> None:
    """The etcd version in the table is the one that the pin requires."""
    pin = (bundles.kubernetes(version).pins / "go.mod.pin").read_text()
    assert f"go.etcd.io/etcd/server/v3 v{versions.KUBERNETES[version]}\n" in pin


@pytest.mark.parametrize("bundle", bundles.bundles(DEFAULT_VERSION, nodes=True), ids=lambda bundle: bundle.name)
def test_every_bundle_is_pinned(bundle: bundles.Bundle) -> None:
    """Each bundle has a go.mod for its version in the table, and that one names the version."""
    pin = bundle.sources()["go.mod"].read_text()
    assert re.match(r"1\.\d+(\.\d+)?$", bundle.minimum_go())
    assert bundle.name == "programs" or re.search(rf" v{re.escape(bundle.version)}( //.*)?$", pin, re.MULTILINE)
