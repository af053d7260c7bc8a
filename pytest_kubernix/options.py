"""The one table of options: command line > environment > ini > default, the same for every entry.
To add an option, add an entry; if `ClusterConfig` has a field of its name, it goes there by itself."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from . import parsing

if TYPE_CHECKING:
    from .config import ClusterConfig
    from .drivers.registry import DriverRegistry
    from .errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Option:
    """One option, under its three names.

    Attributes:
        word: What follows the prefix on the command line, such as "k8s-version".
        metavar: What the value is called in the help.
        help: What it does, for `pytest --help`.
        default: The default as one would type it; None where the default is not a value one can type.
        parse: From the text to the value. Raises ValueError with what is allowed.
        check: Looks at what is on the disk, where a value names that. Raises ValueError with what is allowed.
    """

    word: str
    metavar: str
    help: str
    default: str | None
    parse: Callable[[str], object] = str
    check: Callable[[Any], None] = lambda value: None

    @property
    def flag(self) -> str:
        """The name on the command line."""
        return f"--kubernix-{self.word}"

    @property
    def field(self) -> str:
        """The name in `ClusterConfig` and in markers."""
        return self.word.replace("-", "_")

    @property
    def ini(self) -> str:
        """The name in an ini file."""
        return f"kubernix_{self.field}"

    @property
    def env(self) -> str:
        """The name in the environment."""
        return f"KUBERNIX_{self.field.upper()}"


OPTIONS = (
    Option(
        word="driver",
        metavar="NAME",
        default="auto",
        help="what makes the clusters: native, or auto for the first driver that works on this machine",
    ),
    Option(
        word="nodes",
        metavar="N",
        default="1",
        parse=parsing.whole,
        help="number of nodes, 0 to 64; 0 is a control plane only",
    ),
    Option(
        word="k8s-version",
        metavar="VERSION",
        default="default",
        parse=parsing.version,
        help="version of Kubernetes: exact (1.36.3), a minor (1.36), or latest; default: the one pinned",
    ),
    Option(
        word="cri-runtime",
        metavar="NAME",
        default="containerd",
        help="container runtime of the nodes: containerd",
    ),
    Option(
        word="cidr",
        metavar="CIDR",
        default=None,
        help="private IPv4 network for nodes, services and pods, such as 10.10.0.0/16; default: a free one",
    ),
    Option(
        word="addons",
        metavar="NAMES",
        default="coredns",
        parse=parsing.names,
        help="addons, separated by commas: coredns, or none",
    ),
    Option(
        word="root",
        metavar="DIR",
        default=None,
        parse=Path,
        help="directory for the files of running clusters; default: a private one of temporary files",
    ),
    Option(
        word="scope",
        metavar="SCOPE",
        default="session",
        parse=parsing.one_of("session", "worker"),
        help="who shares a cluster: session, all pytest-xdist workers of a run; or worker, each has its own",
    ),
    Option(
        word="keep",
        metavar="WHEN",
        default="never",
        parse=parsing.one_of("never", "on-failure", "always"),
        help="leave clusters running after the tests: never, on-failure or always",
    ),
    Option(
        word="reuse",
        metavar="NAME",
        default="",
        parse=parsing.name,
        help="leave the cluster running under this name, and find it again next time; default: do not",
    ),
    Option(
        word="spare",
        metavar="N",
        default="0",
        parse=parsing.between(0, 8),
        help="clusters to boot ahead while tests run, for the next that is asked for (factory, worker, run), 0 to 8",
    ),
    Option(
        word="artifacts",
        metavar="DIR",
        default=None,
        parse=Path,
        check=parsing.writable,
        help="directory for logs, objects, events and a timeline of each cluster, when a test or a boot failed and "
        "when the session ends; default: write none",
    ),
    Option(
        word="api-port",
        metavar="PORT",
        default="0",
        parse=parsing.whole,
        help="port of the API server on 127.0.0.1; 0 is any free one",
    ),
    Option(
        word="boot-timeout",
        metavar="SECONDS",
        default="120",
        parse=parsing.seconds,
        help="limit for the boot of one cluster, in seconds",
    ),
    Option(
        word="log-level",
        metavar="LEVEL",
        default="warning",
        help="how much the components log: debug, info, warning or error",
    ),
)

BY_FIELD: Mapping[str, Option] = {option.field: option for option in OPTIONS}


@dataclass(frozen=True)
class SessionOptions:
    """What the options of one session say.

    Attributes:
        cluster: The configuration of the suite's cluster.
        typed: Field → the option as the user typed it, for those that were given.
        scope: Which processes share a cluster: "session" or "worker".
        keep: When clusters stay: "never", "on-failure" or "always".
        reuse: The name of a cluster that stays, or "".
        spare: How many clusters to boot ahead.
        artifacts: Directory for bundles, or None.
    """

    cluster: ClusterConfig
    typed: Mapping[str, str]
    scope: str = "session"
    keep: str = "never"
    reuse: str = ""
    spare: int = 0
    artifacts: Path | None = None

    def explain(self, error: ConfigError, config: ClusterConfig) -> str:
        """The error's text, naming the option as the user typed it if the wrong value came from one.

        Args:
            error: What is wrong.
            config: The configuration that has the wrong value; a conftest may have changed it.
        """
        typed = self.typed.get(error.field)
        if typed is None or getattr(config, error.field, None) != getattr(self.cluster, error.field, None):
            return str(error)
        return f"{typed}: {error.allowed}"


# Both are filled when the session starts.
SESSION_OPTIONS: pytest.StashKey[SessionOptions] = pytest.StashKey()
REGISTRY: pytest.StashKey[DriverRegistry] = pytest.StashKey()
# Lines for the user about the clusters that stay; under xdist, workers send theirs to the controller.
KEPT: pytest.StashKey[list[str]] = pytest.StashKey()


def add_options(parser: pytest.Parser) -> None:
    """Tell pytest about every entry of the table."""
    group = parser.getgroup("kubernix", "real Kubernetes clusters (pytest-kubernix)")
    for option in OPTIONS:
        default = "" if "default:" in option.help else f" (default: {option.default})"
        text = f"{option.help}{default}"
        group.addoption(option.flag, dest=option.ini, metavar=option.metavar, default=None, help=text)
        parser.addini(option.ini, f"{text}; as {option.flag} and ${option.env}", default=None)


def read(config: pytest.Config, drivers: tuple[str, ...]) -> SessionOptions:
    """Parse and check every option. Starts nothing, and writes nothing.

    Args:
        config: The session's.
        drivers: The names that `--kubernix-driver` accepts.

    Raises:
        pytest.UsageError: A value is wrong; it names the option as it was typed, and what is allowed.
    """
    from .config import ClusterConfig
    from .errors import ConfigError

    values: dict[str, Any] = {}
    typed: dict[str, str] = {}
    for option in OPTIONS:
        found = _find(config, option)
        if found is not None:
            text, typed[option.field], base = found
            try:
                value = option.parse(text.strip())
                if isinstance(value, Path):
                    # A path means what it meant where it was typed.
                    value = base / value.expanduser()
                option.check(value)
            except ValueError as error:
                raise pytest.UsageError(f"{typed[option.field]}: {error}") from None
            values[option.field] = value
        elif option.default is not None:
            values[option.field] = option.parse(option.default)
    if values["driver"] not in drivers:
        raise pytest.UsageError(f"{typed['driver']}: allowed is {' or '.join(drivers)}")
    known = {field.name for field in fields(ClusterConfig)}
    try:
        cluster = ClusterConfig(**{name: value for name, value in values.items() if name in known})
    except ConfigError as error:
        raise pytest.UsageError(f"{typed.get(error.field, error.field)}: {error.allowed}") from None
    of_session = {name: value for name, value in values.items() if name not in known}
    session = SessionOptions(cluster, typed, **of_session)
    if session.spare and not cluster.repeatable:
        fixed = " and ".join(typed[field] for field in ("api_port", "cidr") if field in typed)
        raise pytest.UsageError(f"{typed['spare']}: allowed is 0 with {fixed}, which only one cluster can have")
    return session


def checked(field: str, value: object) -> Any:
    """A value of a session that a fixture of the suite returned, checked as the option's would be.

    Args:
        field: The option's field, such as "keep".
        value: What the fixture returned.

    Raises:
        ConfigError: It is none; it says what is allowed.
    """
    from .errors import ConfigError

    try:
        parsed = BY_FIELD[field].parse(str(value))
    except ValueError as error:
        raise ConfigError(f"kubernix_{field}", value, str(error)) from None
    if parsed != value:
        raise ConfigError(f"kubernix_{field}", value, f"allowed is {type(parsed).__name__} {parsed!r}, as the option's")
    return parsed


def mistyped() -> list[str]:
    """Variables of the environment that are none of ours, and look as if they were meant to be."""
    known = [option.env for option in OPTIONS]
    others = [name for name in sorted(os.environ) if name.startswith("KUBERNIX_") and name not in known]
    if not others:
        return []
    import difflib

    found = []
    for name in others:
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
        found += [f"${name} is no option; there is ${close[0]}"] if close else []
    return found


def parse_changes(changes: Mapping[str, object]) -> dict[str, Any]:
    """Values of a marker or of the factory, with texts read as the options would read them.

    Args:
        changes: Field → value; a text such as k8s_version="1.35" is parsed, anything else stays as it is.

    Raises:
        ConfigError: A text is wrong; it says what is allowed.
    """
    from .errors import ConfigError

    parsed: dict[str, Any] = {}
    for name, value in changes.items():
        option = BY_FIELD.get(name)
        try:
            parsed[name] = option.parse(value) if option and isinstance(value, str) else value
            if name == "k8s_version" and isinstance(value, float):
                raise ValueError(f'allowed is a version as text, such as "{value}"; as a number, 1.30 is 1.3')
        except ValueError as error:
            raise ConfigError(name, value, str(error)) from None
        if isinstance(parsed[name], list):
            parsed[name] = tuple(parsed[name])
    return parsed


def _find(config: pytest.Config, option: Option) -> tuple[str, str, Path] | None:
    """The value's text, how the user typed it, and the directory that a relative path starts from."""
    here = config.invocation_params.dir
    text = config.getoption(option.ini)
    if text is not None:
        return text, f"{option.flag}={text}", here
    # An empty variable is how CI systems spell one that is not set.
    text = os.environ.get(option.env)
    if text:
        return text, f"{option.env}={text}", here
    try:
        text = config.getini(option.ini)
    except TypeError as error:
        # TOML has types of its own, and pytest wants a string here: nodes = "2".
        raise pytest.UsageError(f"{option.ini} in {_inifile(config)}: write the value in quotes ({error})") from None
    if text is None:
        return None
    for override in config.getoption("override_ini") or ():
        if override.partition("=")[0] == option.ini:
            return text, f"-o {option.ini}={text}", here
    return text, f"{option.ini} = {text} in {_inifile(config)}", config.rootpath


def _inifile(config: pytest.Config) -> str:
    return config.inipath.name if config.inipath else "the ini file"
