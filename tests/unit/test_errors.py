"""Errors as they cross processes: by pickle, as pytest-xdist and process pools do, and by the control socket."""

from __future__ import annotations

import importlib
import json
import pickle
import pkgutil
from collections.abc import Callable

import pytest

import pytest_kubernix
from pytest_kubernix.errors import (
    BootError,
    ClusterGone,
    ComponentError,
    ConfigError,
    DriverError,
    ExecutablesError,
    ImageError,
    KubectlError,
    KubernixError,
    pack,
    unpack,
)

COMPONENT = ComponentError("kube-apiserver", "exited with code 1", log_tail="one\ntwo", log="/run/x.log")
ERRORS = [
    KubernixError("message", hint="hint"),
    ConfigError("cidr", "10.0.0.0/16", "allowed is a free network"),
    ExecutablesError("no kubelet", hint="build it"),
    DriverError("no driver"),
    COMPONENT,
    BootError("ControlPlane", [COMPONENT], logs="/kept", remarks=["not ready by then either: etcd"]),
    ClusterGone("cluster a1 is gone"),
    ImageError("app:1: not found"),
    KubectlError(["kubectl", "get", "pods"], 1, "stderr", "stdout", message="what failed"),
    KubectlError(["kubectl", "get", "pods"], None, ""),
]


def through_pickle(error: KubernixError) -> KubernixError:
    again: KubernixError = pickle.loads(pickle.dumps(error))
    return again


def through_the_socket(error: KubernixError) -> KubernixError:
    return unpack(json.loads(json.dumps(pack(error))))


def same(one: BaseException, other: BaseException) -> bool:
    """Whether two errors have the same type, text and fields, down to the errors that they hold."""
    if isinstance(one, KubernixError) and isinstance(other, KubernixError):
        fields = [(getattr(one, name), getattr(other, name)) for name in type(one).fields]
        nested = all(
            len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
            if isinstance(a, tuple) and any(isinstance(x, Exception) for x in a)
            else a == b
            for a, b in fields
        )
        return type(one) is type(other) and str(one) == str(other) and one.hint == other.hint and nested
    return False


@pytest.mark.parametrize("through", [through_pickle, through_the_socket])
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_errors_stay_whole(error: KubernixError, through: Callable[[KubernixError], KubernixError]) -> None:
    """An error of ours has its type, fields and hint in every process that it reaches, as have those it holds."""
    assert same(through(error), error)


@pytest.mark.parametrize("through", [through_pickle, through_the_socket])
def test_notes_stay(through: Callable[[KubernixError], KubernixError]) -> None:
    """What was noted on an error on its way is noted in the other process too."""
    error = KubernixError("it broke")
    error.add_note("while the sun shone")
    assert through(error).__notes__ == ["while the sun shone"]


class OfASuite(DriverError):
    """An error that a plugin of ours defines."""

    fields = ("what", "parts")

    def __init__(self, what: str, parts: list[int]) -> None:
        super().__init__(f"{what} of {parts}")
        self.what = what
        self.parts = parts


def test_an_error_of_a_plugin_stays_whole_where_it_is_known() -> None:
    """A type from outside is the same where that plugin is loaded, and keeps its text where it is not."""
    error = OfASuite("sum", [1, 2])
    for through in (through_pickle, through_the_socket):
        again = through(error)
        assert isinstance(again, OfASuite)
        assert (again.what, again.parts, str(again)) == ("sum", [1, 2], str(error))
    data = pack(error)
    data["type"] = "some.plugin:Unknown"
    assert type(unpack(data)) is KubernixError
    assert str(unpack(data)) == str(error)


def test_every_error_of_ours_can_be_told_whole() -> None:
    """No error type in this package has arguments that it forgets to name."""
    for module in pkgutil.walk_packages(pytest_kubernix.__path__, f"{pytest_kubernix.__name__}."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    below = [KubernixError]
    while below:
        kind = below.pop()
        if kind.__module__.startswith(pytest_kubernix.__name__):
            values = {name: ["a"] if name in {"failures", "command"} else "a" for name in kind.fields}
            if "failures" in values:
                values["failures"] = [KubernixError("a")]  # type: ignore[list-item]
            error = kind(**values)  # type: ignore[arg-type]
            assert same(through_pickle(error), error), kind
            assert same(through_the_socket(error), error), kind
        below += kind.__subclasses__()
