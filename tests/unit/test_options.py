"""The table of options, without pytest around it.
What a session makes of it is in tests/plugin."""

from __future__ import annotations

from dataclasses import MISSING, fields

import pytest

from pytest_kubernix import ClusterConfig, ConfigError
from pytest_kubernix.binaries.pins import DEFAULT_VERSION
from pytest_kubernix.options import BY_FIELD, OPTIONS, SessionOptions, parse_changes

DEFAULTS = {field.name: field.default for field in fields(ClusterConfig) if field.default is not MISSING}


SESSION_DEFAULTS = {"spare": 0, "scope": "session", "keep": "never", "reuse": "", "artifacts": None}


# Mappings, which are written in a conftest or a marker.
WITHOUT_OPTION = {"component_args", "registries"}


def test_every_setting_has_an_option() -> None:
    """What ClusterConfig can be told, a user can type; the other options are about sessions."""
    assert set(BY_FIELD) == {field.name for field in fields(ClusterConfig)} - WITHOUT_OPTION | set(SESSION_DEFAULTS)


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.word)
def test_the_defaults_agree(option: object) -> None:
    """The default that the help shows is the one that ClusterConfig has."""
    entry = next(entry for entry in OPTIONS if entry is option)
    value = None if entry.default is None else entry.parse(entry.default)
    assert value == {**DEFAULTS, **SESSION_DEFAULTS, "k8s_version": DEFAULT_VERSION}[entry.field]


def test_the_three_names_of_an_option() -> None:
    """Flag, variable and ini line are made from one word."""
    option = BY_FIELD["k8s_version"]
    assert (option.flag, option.env, option.ini) == (
        "--kubernix-k8s-version",
        "KUBERNIX_K8S_VERSION",
        "kubernix_k8s_version",
    )


def test_texts_of_a_marker_are_read_as_options_are() -> None:
    """A text is parsed, a value that has its type already is kept."""
    assert parse_changes({"k8s_version": "1.33", "nodes": 2, "addons": "none"}) == {
        "k8s_version": "1.33.13",
        "nodes": 2,
        "addons": (),
    }
    assert parse_changes({"addons": ["coredns"], "nodes": "3"}) == {"addons": ("coredns",), "nodes": 3}
    with pytest.raises(ConfigError, match=r"k8s_version=1\.2: not supported"):
        parse_changes({"k8s_version": "1.2"})


def test_an_error_names_the_option_only_if_it_is_to_blame() -> None:
    """Where a conftest changed the value, the option that the user typed is not accused."""
    config = ClusterConfig(k8s_version="1.36.3", nodes=3)
    settings = SessionOptions(config, {"nodes": "--kubernix-nodes=3"})
    error = ConfigError("nodes", 3, "allowed is 1")
    assert settings.explain(error, config) == "--kubernix-nodes=3: allowed is 1"
    assert settings.explain(ConfigError("nodes", 4, "allowed is 1"), config.replace(nodes=4)) == "nodes=4: allowed is 1"
    assert settings.explain(ConfigError("other", 4, "allowed is 1"), config) == "other=4: allowed is 1"
