"""What a guardian and its holders say to each other: requests with their answers, and events.
A line of JSON each; a request has a number and its answer the same one, so that several can be under way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Generic, TypeVar, get_args

from .. import plain
from ..engine import Command, CommandResult
from ..errors import KubernixError, pack, unpack
from ..handle import Action, ClusterHandle, ComponentState, Death, Event

A = TypeVar("A")


class Stage(StrEnum):
    """Where a cluster is between the start of its guardian and its tests."""

    VACANT = "vacant"
    """No holder has begun to plan it."""
    PLANNING = "planning"
    BOOTING = "booting"
    BOOTED = "booted"
    """All components are ready; plugins prepare it."""
    READY = "ready"
    FAILED = "failed"


# Answers.


@dataclass(frozen=True)
class Done:
    """It is in effect.

    Attributes:
        at: Since when, in seconds on the monotonic clock.
    """

    at: float


@dataclass(frozen=True)
class Attached:
    """The cluster is ready (or booted, or vacant, and then the caller has something to do for it).

    Attributes:
        stage: Where the cluster is.
        handle: How to reach it, once it is booted.
    """

    stage: Stage
    handle: ClusterHandle | None = None


@dataclass(frozen=True)
class Claimed:
    """What was claimed for a plan.

    Attributes:
        facts: What the engine gave; None when another holder plans already.
    """

    facts: Mapping[str, Any] | None


@dataclass(frozen=True)
class ClusterStatus:
    """What a guardian says of its cluster.

    Attributes:
        stage: Where it is.
        holders: Who is attached, in the order of their coming.
        others: The same without the caller.
        kept: Whether it stays without holders.
        spare: Whether it waits for a holder that takes it.
        components: Name → state.
        at: When this was so, in seconds on the monotonic clock.
    """

    stage: Stage
    holders: tuple[str, ...]
    others: tuple[str, ...]
    kept: bool
    spare: bool
    components: Mapping[str, ComponentState]
    at: float


@dataclass(frozen=True)
class ClusterHistory:
    """What has happened to a cluster; see `EngineStatus`."""

    components: Mapping[str, ComponentState]
    deaths: tuple[Death, ...]
    timeline: tuple[Event, ...]
    at: float


# Requests, each with its answer.


class Request(Generic[A]):
    """Something that a holder asks for; answered by an `A`, or by an error."""

    answer: ClassVar[type]

    def __init_subclass__(cls) -> None:
        cls.answer = get_args(cls.__orig_bases__[0])[0]  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Attach(Request[Attached]):
    """Hold the cluster, and hear all that happens until it is ready or the caller is needed."""

    who: str


@dataclass(frozen=True)
class BecomeSpare(Request[Done]):
    """Wait for a holder that takes the cluster, for `lifetime` seconds, once it is booted."""

    identity: str
    lifetime: float


@dataclass(frozen=True)
class Claim(Request[Claimed]):
    """Plan the cluster, if no other holder does, with what the engine claims for it."""

    wants: Mapping[str, Any]


@dataclass(frozen=True)
class Boot(Request[Attached]):
    """Boot what was planned; goes on when the caller dies, since others may be waiting.

    Attributes:
        spec: For the engine.
        handle: How the cluster will be reached.
        timeout: Limit in seconds.
    """

    spec: Mapping[str, Any]
    handle: ClusterHandle
    timeout: float


@dataclass(frozen=True)
class Publish(Request[Done]):
    """The caller has prepared the cluster: all holders may use it."""


@dataclass(frozen=True)
class GiveUp(Request[Done]):
    """The cluster will never be ready; all that wait for it get this error (as `errors.pack` gives it)."""

    error: Mapping[str, Any]


@dataclass(frozen=True)
class GetStatus(Request[ClusterStatus]):
    """What the cluster looks like."""


@dataclass(frozen=True)
class GetHistory(Request[ClusterHistory]):
    """What has happened to it."""


@dataclass(frozen=True)
class Run(Request[CommandResult]):
    """Run a command where the cluster is."""

    command: Command


@dataclass(frozen=True)
class Control(Request[Done]):
    """Break or mend a component or a node."""

    name: str
    action: Action


@dataclass(frozen=True)
class Keep(Request[Done]):
    """Let the cluster stay without holders."""


@dataclass(frozen=True)
class Stop(Request[Done]):
    """End the cluster, whatever processes hold it."""


# Events, sent to all that are attached until the cluster is ready.


@dataclass(frozen=True)
class StageChanged:
    """Where the cluster is now, and which holder plans, boots or prepares it, if any."""

    stage: Stage
    booter: str = ""


@dataclass(frozen=True)
class PhaseChanged:
    """A phase has begun, or is over after so many seconds; it has `count` components."""

    phase: str
    count: int
    seconds: float | None = None


Message = StageChanged | PhaseChanged

REQUESTS: dict[str, type[Request[Any]]] = {
    kind.__name__: kind
    for kind in (
        Attach, BecomeSpare, Claim, Boot, Publish, GiveUp, GetStatus, GetHistory, Run, Control, Keep, Stop,
    )
}  # fmt: skip
EVENTS: dict[str, type[Message]] = {kind.__name__: kind for kind in (StageChanged, PhaseChanged)}


@dataclass(frozen=True)
class Line:
    """One line, either way.

    Attributes:
        number: Of a request, and of its answer; 0 for events.
        kind: The name of a request's or an event's class; "" for answers.
        body: The fields of the request, event or answer.
        error: Instead of an answer, what went wrong.
    """

    number: int = 0
    kind: str = ""
    body: Any = None
    error: dict[str, Any] = field(default_factory=dict)

    def encode(self) -> bytes:
        """As bytes, with the end of the line."""
        return plain.to_json(self) + b"\n"


def request_line(number: int, request: Request[Any]) -> bytes:
    """A request."""
    return Line(number, type(request).__name__, plain.to_plain(request)).encode()


def answer_line(number: int, answer: object) -> bytes:
    """An answer."""
    return Line(number, body=plain.to_plain(answer)).encode()


def error_line(number: int, error: KubernixError) -> bytes:
    """An error instead of an answer."""
    return Line(number, error=pack(error)).encode()


def event_line(event: Message) -> bytes:
    """An event."""
    return Line(kind=type(event).__name__, body=plain.to_plain(event)).encode()


def parse(line: bytes) -> Line:
    """What was sent."""
    return plain.from_json(Line, line)


def request_of(line: Line) -> Request[Any]:
    """The request that a line is.

    Raises:
        KubernixError: There is no such request, or it has not the fields that it should have.
    """
    if line.kind not in REQUESTS:
        raise KubernixError(f"a guardian knows no request {line.kind!r}; it knows {', '.join(REQUESTS)}")
    try:
        return plain.from_plain(REQUESTS[line.kind], line.body)
    except ValueError as error:
        raise KubernixError(f"not a request {line.kind}: {error}") from None


def answer_of(request: Request[A], line: Line) -> A:
    """The answer that a line is.

    Raises:
        KubernixError: What the guardian raised, of the type that it had there.
    """
    if line.error:
        raise unpack(line.error)
    try:
        answer: A = plain.from_plain(request.answer, line.body)
    except ValueError as error:
        # A cluster that was left running outlives an upgrade of this package.
        name = type(request).__name__
        raise KubernixError(f"its guardian does not speak this version's language ({name}: {error})") from None
    return answer


def event_of(line: Line) -> Message:
    """The event that a line is."""
    return plain.from_plain(EVENTS[line.kind], line.body)
