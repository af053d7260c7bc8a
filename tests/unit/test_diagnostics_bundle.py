"""Bundles: what is left out of them, who writes them, and the picture in them."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from pytest_kubernix import BootError, ClusterConfig, ComponentError
from pytest_kubernix.diagnostics import artifacts as module
from pytest_kubernix.diagnostics import timeline
from pytest_kubernix.diagnostics.artifacts import Artifacts, claim, name_of
from pytest_kubernix.diagnostics.redact import LEFT_OUT, Redactor
from pytest_kubernix.handle import Event

from .test_diagnostics import Stub

VALUE = 'pa"ss\nwörd-canary'

EVENTS: list[Event] = [
    Event("Infrastructure", "begins", 0.0),
    Event("node-1", "set up", 0.1),
    Event("etcd", "spawned", 0.1),
    Event("etcd", "ready", 0.4),
    Event("Infrastructure", "ends", 0.4),
    Event("ControlPlane", "begins", 0.4),
    Event("kube-apiserver", "spawned", 0.5),
]
READY = [
    *EVENTS,
    Event("kube-apiserver", "ready", 2.0),
    Event("ControlPlane", "ends", 2.0),
    Event("cluster", "ready", 2.1),
]


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def secret(value: str = VALUE, **more: Any) -> dict[str, Any]:
    return {"kind": "Secret", "metadata": {"name": "s"}, "data": {"password": encoded(value)}, **more}


def test_a_secret_keeps_its_keys_only() -> None:
    """Values go, in data, stringData and annotations, of whatever tool and whatever age; the keys stay."""
    annotations = {
        "kubectl.kubernetes.io/last-applied-configuration": '{"data":{"password":"b2xkZXI="}}',
        "operator.example/last-handled": '{"data":{"password":"b2xkZXI="}}',
        "kubernetes.io/service-account.name": "builder",
    }
    metadata = {"name": "s", "annotations": annotations, "managedFields": [{"manager": "kubectl"}]}
    item = secret(stringData={"short": "x"}, metadata=metadata)
    clean = Redactor([item]).object(item)
    assert clean["data"] == {"password": LEFT_OUT}
    assert clean["stringData"] == {"short": LEFT_OUT}
    assert clean["metadata"] == {
        "name": "s",
        "annotations": {**dict.fromkeys(annotations, LEFT_OUT), "kubernetes.io/service-account.name": "builder"},
    }
    assert item["metadata"]["annotations"]["kubernetes.io/service-account.name"] == "builder"
    assert "b2xkZXI=" in json.dumps(item), "the object that was given is not changed"


@pytest.mark.parametrize(
    "text",
    [
        VALUE,
        encoded(VALUE),
        encoded(VALUE).rstrip("="),
        json.dumps(VALUE),
        json.dumps(VALUE, ensure_ascii=False),
        json.dumps({"env": json.dumps({"password": VALUE})}),
    ],
)
def test_a_value_is_found_wherever_it_was_copied(text: str) -> None:
    """As it is, in base64, in JSON, and in JSON within JSON, as an annotation of another object has it."""
    redactor = Redactor([secret()])
    assert "canary" not in redactor.text(f"before {text} after")
    assert encoded(VALUE)[:12] not in redactor.text(f"before {text} after")
    other = {"kind": "ConfigMap", "metadata": {"annotations": {"copy": text}}, "data": {"list": [text]}}
    assert "canary" not in str(redactor.object(other))


def test_a_line_of_a_key_is_found() -> None:
    """A key that a log prints line by line is left out as well; its first line, which all keys share, is not."""
    line = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC"
    redactor = Redactor([secret(f"-----BEGIN PRIVATE KEY-----\n{line}\n")])
    assert redactor.text(f"-----BEGIN PRIVATE KEY-----\n| {line}\n") == f"-----BEGIN PRIVATE KEY-----\n| {LEFT_OUT}\n"


def test_short_and_public_values_do_not_ruin_the_rest() -> None:
    """What is in every file anyway, such as "true" or a namespace's name, is only left out of the Secret."""
    token = secret(
        type="kubernetes.io/service-account-token", data={"namespace": encoded("kube-system"), "a": encoded("true")}
    )
    assert Redactor([token]).text("kube-system is true") == "kube-system is true"


def test_the_picture_has_a_bar_for_each_component() -> None:
    """It is well-formed, names every phase, component and node, and says when all was ready."""
    text = timeline.draw(READY, title='<"Kubernetes" & 1 node>')
    root = ElementTree.fromstring(text)
    words = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    for word in ("Infrastructure", "ControlPlane", "etcd", "kube-apiserver", "node-1", '<"Kubernetes" & 1 node>'):
        assert word in words
    assert "Boot timeline: ready after 2.10 s" in words
    assert "1.50 s" in words


def test_what_starts_early_is_drawn_with_the_phase_that_waits_for_it() -> None:
    """A component loads while an earlier phase goes on; its bar begins then, under the heading of its own phase."""
    boot = timeline.read(
        [
            Event("Infrastructure", "begins", 0.0),
            Event("etcd", "awaited", 0.0),
            Event("etcd", "spawned", 0.1),
            Event("kube-scheduler", "spawned", 0.2),
            Event("etcd", "ready", 0.3),
            Event("Infrastructure", "ends", 0.3),
            Event("Controller", "begins", 0.3),
            Event("kube-scheduler", "awaited", 0.3),
            Event("kube-scheduler", "ready", 0.4),
            Event("Controller", "ends", 0.4),
            Event("cluster", "ready", 0.4),
        ]
    )
    assert [(group.bar.name, [bar.name for bar in group.members]) for group in boot.groups] == [
        ("Infrastructure", ["etcd"]),
        ("Controller", ["kube-scheduler"]),
    ]
    assert (boot.groups[1].members[0].begin, boot.groups[1].members[0].end) == (0.2, 0.4)


def test_restarts_are_no_part_of_the_boot() -> None:
    """What tests did to components later changes neither the picture nor its scale."""
    later: list[Event] = [Event("etcd", "spawned", 500.0), Event("etcd", "ready", 501.0)]
    assert timeline.draw([*READY, *later], title="t") == timeline.draw(READY, title="t")


def test_a_boot_that_failed_shows_what_was_never_ready() -> None:
    """Its bar reaches to the end, and says so."""
    text = timeline.draw([*EVENTS, Event("cluster", "failed", 9.0)], title="t")
    assert "failed after 9.00 s" in text
    assert "kube-apiserver: 0.50 s to 9.00 s" in text
    assert "never ready" in text
    boot = timeline.read([])
    assert (boot.groups, boot.end) == ([], 0.0)


def test_names_are_claimed(tmp_path: Path) -> None:
    """Two that want one name get two directories; tests of one name in two files have names of their own."""
    assert [claim(tmp_path / "new", "a").name for _ in range(3)] == ["a", "a-2", "a-3"]
    first, second = name_of("tests/x/test_a.py::test_it[../..]"), name_of("tests/y/test_a.py::test_it[../..]")
    assert first != second
    assert first.startswith("test_a-test_it-")
    assert "/" not in first


def test_the_last_to_leave_writes_the_end(tmp_path: Path) -> None:
    """While another process uses the cluster, its end is not written; no lock stays."""
    told: list[str] = []
    one, two = Artifacts(tmp_path / "out", told.append), Artifacts(tmp_path / "out", told.append)
    stub = Stub(tmp_path, "echo refused >&2; exit 1")
    one.joined("abcd")
    two.joined("abcd")
    one.left([stub])
    assert [path.name for path in (tmp_path / "out" / "abcd").iterdir()] == [".lock"]
    two.left([stub])
    assert [path.name for path in (tmp_path / "out" / "abcd").iterdir()] == ["end"]
    assert told == [f"artifacts are in {tmp_path / 'out'}"]
    about = json.loads((tmp_path / "out" / "abcd" / "end" / "bundle.json").read_text())
    assert about["cluster"]["cluster_id"] == "abcd"
    assert "refused" in about["could_not_be_had"][0]


def test_a_directory_that_cannot_be_written_is_told_once_and_hurts_nobody(tmp_path: Path) -> None:
    """No test changes its outcome because of a bundle."""
    told: list[str] = []
    (tmp_path / "file").write_text("")
    artifacts = Artifacts(tmp_path / "file" / "out", told.append)
    artifacts.joined("abcd")
    line = artifacts.test_failed(Stub(tmp_path, "exit 1"), "test_a.py::test_a")
    assert line == "the bundle could not be written"
    assert all("NotADirectoryError" in text for text in told)
    assert len(set(told)) == 1


def test_there_is_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where everything fails, only the first few tests get a bundle each."""
    monkeypatch.setattr(module, "MAX_TESTS", 2)
    artifacts = Artifacts(tmp_path / "out", lambda line: None)
    stub = Stub(tmp_path, "exit 1")
    lines = [artifacts.test_failed(stub, f"test_a.py::test_{number}") for number in range(3)]
    assert lines[2] == "no bundle: this process wrote those of 2 failed tests already"
    assert len(list((tmp_path / "out" / "abcd").iterdir())) == 2


def test_a_failed_boot_is_written_from_what_was_kept(tmp_path: Path) -> None:
    """Error, logs, timeline and configuration; all who report it write the same one."""
    kept = tmp_path / "kept" / "abcd"
    kept.mkdir(parents=True)
    (kept / "etcd.log").write_text("last words")
    (kept / "timeline.json").write_text(json.dumps([*EVENTS, Event("cluster", "failed", 9.0)]))
    error = BootError("ControlPlane", [ComponentError("etcd", "exited with code 1")], logs=str(kept))
    artifacts = Artifacts(tmp_path / "out", lambda line: None)
    for _ in range(2):
        artifacts.boot_failed(error, ClusterConfig(k8s_version="1.36.3", nodes=0))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["boot-abcd"]
    folder = tmp_path / "out" / "boot-abcd"
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert names == {"bundle.json", "error.txt", "logs/etcd.log", "timeline.json", "timeline.svg"}
    assert "exited with code 1" in (folder / "error.txt").read_text()
    assert json.loads((folder / "bundle.json").read_text())["config"]["nodes"] == 0
