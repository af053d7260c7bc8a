"""One process's way to a cluster that others may share: find it, boot it if no holder does, prepare it, publish it.
What is particular to an engine comes from a `Recipe`; all else is the same for every cluster that a guardian keeps."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, TypeVar

from filelock import FileLock, Timeout

from ..config import ClusterConfig
from ..engine import Engine
from ..errors import ClusterGone, ConfigError, KubernixError, pack
from ..handle import ClusterHandle, not_running
from ..layout import Layout, how_to_remove
from ..linux import processes
from ..share import Share
from . import unresponsive
from .boot_ahead import BootAhead
from .client import GuardianClient
from .listing import difference
from .protocol import (
    Attach,
    Attached,
    Boot,
    Claim,
    GetStatus,
    GiveUp,
    Keep,
    Message,
    PhaseChanged,
    Publish,
    Request,
    Stage,
    StageChanged,
)  # fmt: skip

A = TypeVar("A")

# After the boot's own limit, for its report to arrive.
GRACE = 5.0


class Recipe(Protocol):
    """How one driver makes one cluster; its methods are called by the holder that boots it (the booter)."""

    @property
    def engine(self) -> type[Engine]:
        """What runs it."""

    def wants(self) -> Mapping[str, Any]:
        """What the engine is to claim; raises KubernixError where this machine has no room for the cluster."""

    def plan(self, layout: Layout, claimed: Mapping[str, Any]) -> tuple[Mapping[str, Any], ClusterHandle]:
        """What the engine boots, and how it will be reached."""

    def components(self) -> Mapping[str, str]:
        """The components that plugins add or change, each with a digest of what it would run."""

    def booted(self, layout: Layout) -> None:
        """Look at a cluster that has just booted, before plugins have seen it; raises nothing."""

    def on_ready(self, guardian: GuardianClient, handle: ClusterHandle) -> None:
        """Let plugins prepare a cluster before any test sees it."""

    def meanwhile(self) -> None:
        """Called while a guardian starts: what can be loaded already."""


class Joining:
    """Gets one process its cluster.

    Args:
        config: What the cluster should be.
        share: How it is shared.
        progress: Called with a line whenever something worth telling happened.
        recipe: How it is made.
        spares: To take one from, or None.
    """

    def __init__(
        self,
        config: ClusterConfig,
        share: Share,
        progress: Callable[[str], None],
        recipe: Recipe,
        spares: BootAhead | None = None,
    ) -> None:
        self._config = config
        self._share = share
        self._progress = progress
        self._recipe = recipe
        self._spares = spares

    def join(self) -> tuple[GuardianClient, ClusterHandle]:
        """Return once the cluster is ready, whichever process boots it.

        Raises:
            BootError: It did not come up; all processes that wait for it get the same.
            ConfigError: A cluster of that name runs already, and is another one.
            KubernixError: It can't be made here, or was not ready in time.
        """
        while True:
            if found := self._try():
                return found

    def _try(self) -> tuple[GuardianClient, ClusterHandle] | None:
        """None when the cluster that was to be reused had to be ended, or a spare was gone."""
        guardian = taken = self._spares.take() if self._spares else None
        if guardian:
            self._progress(f"takes spare {guardian.cluster_id}")
        else:
            guardian = self.start(self._share)
        try:
            handle = _Boot(self._config, self._share, self._progress, self._recipe, guardian).until_ready()
            if self._share.name:
                if sick := self._check_reused(guardian, handle):
                    self._progress(f"replacing cluster {self._share.name}: {sick}")
                    guardian.stop()
                    return None
                guardian.ask(Keep())
                self._prepare_found(guardian, handle)
        except ClusterGone:
            guardian.leave()
            if not taken:
                raise
            self._progress(f"spare {guardian.cluster_id} ended before it could be held")
            return None
        except BaseException:
            if self._share.key:
                # Others wait for the same cluster, or want to learn why there is none.
                guardian.leave()
            else:
                guardian.stop()
            raise
        return guardian, handle

    def start(self, share: Share) -> GuardianClient:
        """Find or start the guardian of a share's cluster."""
        return GuardianClient.find_or_start(
            self._recipe.engine, self._config.root, share, self._config.boot_timeout, self._recipe.meanwhile
        )

    def boot_spare(self, guardian: GuardianClient, begun: Callable[[], None]) -> None:
        """Boot what a guardian keeps as a spare; for `BootAhead`."""
        # The first that is heard of a boot is that it goes on by itself.
        _Boot(self._config, self._share.alone(), lambda line: begun(), self._recipe, guardian).until_booted()

    def _check_reused(self, guardian: GuardianClient, handle: ClusterHandle) -> str:
        """Why a cluster that was running already will not do any more, or "".

        Raises:
            ConfigError: It is not what is asked for.
        """
        if lines := difference(self._config, self._recipe.components(), handle):
            name = self._share.name
            raise ConfigError(
                "reuse",
                name,
                "the running cluster of that name is another one than options, marker or kubernix_config ask for:\n  "
                + "\n  ".join(lines)
                + "\nallowed is the same configuration; or end that cluster: "
                + how_to_remove(name, guardian.layout.run_dir),
            )
        return not_running(guardian.ask(GetStatus()).components)

    def _prepare_found(self, guardian: GuardianClient, handle: ClusterHandle) -> None:
        """Prepare a cluster that was running already, once in each test run: its suite may be another one by now."""
        if not self._share.run:
            return
        lock = FileLock(guardian.layout.ready_lock, timeout=self._config.boot_timeout)
        try:
            with lock:
                if self._share.run not in _ready_runs(guardian.layout):
                    _prepare(self._recipe, self._share, guardian, handle)
        except Timeout:
            raise KubernixError(
                f"cluster {self._share.name}: another process has been preparing it for "
                f"{self._config.boot_timeout:g} s (pytest_kubernix_cluster_ready)"
            ) from None


class _Boot:
    """One process's part in getting a cluster ready, which others may share."""

    def __init__(
        self,
        config: ClusterConfig,
        share: Share,
        progress: Callable[[str], None],
        recipe: Recipe,
        guardian: GuardianClient,
    ) -> None:
        self._config = config
        self._share = share
        self._progress = progress
        self._recipe = recipe
        self._guardian = guardian
        self._deadline = time.monotonic() + config.boot_timeout + GRACE
        self._waits_for = ""
        self._planned = False

    def until_ready(self) -> ClusterHandle:
        """Boot the cluster or wait for the booter; take over from one that died of it."""
        answer, handle = self.until_booted()
        if answer.stage == Stage.BOOTED:
            if self._planned:
                # Of this process's own boot no plugin has seen anything yet.
                self._recipe.booted(self._guardian.layout)
            with self._telling_all():
                _prepare(self._recipe, self._share, self._guardian, handle)
            self._request(Publish(), at_least=GRACE)
        return handle

    def until_booted(self) -> tuple[Attached, ClusterHandle]:
        """The guardian's answer once all components are ready, whichever process booted them."""
        answer = self._request(Attach(self._share.who))
        while answer.handle is None:
            answer = self._plan_and_boot()
        return answer, answer.handle

    def _plan_and_boot(self) -> Attached:
        with self._telling_all():
            claimed = self._request(Claim(self._recipe.wants()))
            facts = claimed.facts
            made = self._recipe.plan(self._guardian.layout, facts) if facts is not None else None
        if made is None:
            # Another process was faster. What it tells of its boot is known to all, and not to be told again.
            return self._request(Attach(self._share.who))
        spec, handle = made
        self._planned = True
        # The guardian's limit begins now, whatever the way here took.
        self._deadline = time.monotonic() + self._config.boot_timeout + GRACE
        return self._request(Boot(spec, handle, self._config.boot_timeout))

    @contextlib.contextmanager
    def _telling_all(self) -> Iterator[None]:
        """What goes wrong here goes wrong for all that wait: they get the same error, and none tries again."""
        try:
            yield
        except Exception as error:
            told = error if isinstance(error, KubernixError) else KubernixError(f"{type(error).__name__}: {error}")
            with contextlib.suppress(KubernixError):
                self._request(GiveUp(pack(told)))
            raise

    def _request(self, request: Request[A], at_least: float = 0.1) -> A:
        connection = self._guardian.connection
        limit = max(at_least, self._deadline - time.monotonic())
        try:
            return connection.request(request, on_event=self._on_event, timeout=limit)
        except TimeoutError:
            late = f"the cluster was not ready within {self._config.boot_timeout:g} s: "
            last = connection.stage or StageChanged(Stage.VACANT)
            # The booter hears of a boot that takes too long from the guardian.
            if last.booter in (self._share.who, "") or processes.is_stopped(connection.guardian):
                why = unresponsive.describe(connection)
                raise KubernixError(late + why, hint=unresponsive.how_to_mend(self._guardian.layout)) from None
            raise KubernixError(
                f"{late}it is {last.stage}, and {last.booter} is in charge of it",
                hint="If that process is stopped or stuck, end it: another one takes over.",
            ) from None

    def _on_event(self, event: Message) -> None:
        if isinstance(event, PhaseChanged):
            # A process that waits has been told for which one; that one tells how it gets on.
            if not self._waits_for:
                self._progress(_phase_line(event))
        elif event.booter in (self._share.who, ""):
            self._waits_for = ""
        elif event.booter != self._waits_for:
            self._waits_for = event.booter
            self._progress(f"{self._share.who} waits for {event.booter}, which boots the cluster")


def _prepare(recipe: Recipe, share: Share, guardian: GuardianClient, handle: ClusterHandle) -> None:
    recipe.on_ready(guardian, handle)
    with guardian.layout.ready_runs.open("a", encoding="utf-8") as record:
        record.write(f"{share.run}\n")


def _ready_runs(layout: Layout) -> list[str]:
    record = layout.ready_runs
    return record.read_text(encoding="utf-8").splitlines() if record.exists() else []


def _phase_line(event: PhaseChanged) -> str:
    if event.seconds is None:
        return f"{event.phase}: starting {event.count} component{'s' if event.count != 1 else ''}"
    return f"{event.phase}: ready after {event.seconds:.1f} s"
