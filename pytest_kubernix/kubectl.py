"""Kubectl: the kubectl of the cluster's own version, run as a child process, never through a shell.
It gets the cluster's kubeconfig by argument; the environment of the tests is never changed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import manifests
from .errors import KubectlError
from .manifests import Manifest


@dataclass(frozen=True)
class KubectlResult:
    """What one run of kubectl gave.

    Attributes:
        command: The argv that ran.
        returncode: Its exit code.
        stdout: What it wrote to standard output, read as UTF-8.
        stderr: What it wrote to standard error, read as UTF-8.
    """

    command: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str


class Kubectl:
    """Runs kubectl against one cluster, as one user.

    Args:
        executable: The kubectl to run.
        kubeconfig: Whose access it uses.
        cache_dir: Where it keeps what it learnt about the API; None is kubectl's own default.
        timeout: Limit for each run in seconds, where a call gives none of its own.
    """

    def __init__(
        self, executable: Path, kubeconfig: Path, *, cache_dir: Path | None = None, timeout: float = 120.0
    ) -> None:
        self.executable = executable
        self.kubeconfig = kubeconfig
        self.timeout = timeout
        self._cache_dir = cache_dir

    def __repr__(self) -> str:
        return f"Kubectl({str(self.kubeconfig)!r})"

    def using(self, kubeconfig: Path) -> Kubectl:
        """The same kubectl as another user: `kubectl.using(cluster.user("alice"))`."""
        return Kubectl(self.executable, kubeconfig, cache_dir=self._cache_dir, timeout=self.timeout)

    def __call__(
        self,
        *args: str | Path,
        namespace: str | None = None,
        stdin: str | None = None,
        check: bool = True,
        timeout: float | None = None,
    ) -> KubectlResult:
        """Run kubectl with these arguments.

        Args:
            args: What one would type after `kubectl`.
            namespace: The namespace to act in; None is the kubeconfig's, which is "default".
            stdin: Text for its standard input.
            check: Whether a failing exit code is an error.
            timeout: Limit in seconds; None is the limit that this object was made with.

        Raises:
            KubectlError: It failed (unless `check=False`), or its time was up (always; `returncode` is None).
        """
        command = self._command(args, namespace)
        limit = self.timeout if timeout is None else timeout
        with subprocess.Popen(
            command,
            stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            env=_environment(),
            # A group of its own, so that ending it ends the plugins that it may have started.
            start_new_session=True,
        ) as process:
            try:
                stdout, stderr = process.communicate(stdin, timeout=limit)
            except subprocess.TimeoutExpired:
                end(process)
                stdout, stderr = process.communicate()
                note = f"{stderr.rstrip()}\nstopped after {limit:g} s".lstrip()
                raise KubectlError(command, None, note, stdout) from None
            except BaseException:
                end(process)
                raise
        if check and process.returncode != 0:
            raise KubectlError(command, process.returncode, stderr, stdout)
        return KubectlResult(tuple(command), process.returncode, stdout, stderr)

    def get(
        self,
        kind: str,
        name: str | None = None,
        *,
        namespace: str | None = None,
        selector: str | None = None,
        all_namespaces: bool = False,
    ) -> dict[str, Any]:
        """One object, or a List of them, as `kubectl get -o json` gives it.

        Raises:
            KubectlError: There is no such object or kind, or it may not be read.
        """
        args = ["get", kind, *([name] if name else []), "--output=json"]
        args += [f"--selector={selector}"] if selector else []
        args += ["--all-namespaces"] if all_namespaces else []
        found: dict[str, Any] = json.loads(self(*args, namespace=namespace).stdout)
        return found

    def apply(
        self,
        what: Manifest,
        *,
        namespace: str | None = None,
        server_side: bool = False,
        timeout: float | None = None,
    ) -> KubectlResult:
        """Create or change objects.

        Args:
            what: A file or directory (a kustomization too), one object, several, or YAML text.
            namespace: For objects that name none themselves.
            server_side: Whether the API server merges, rather than kubectl.
            timeout: Limit in seconds.

        Raises:
            FileNotFoundError: There is no such file.
            KubectlError: The API server refused one.
        """
        args, stdin = manifests.arguments(what)
        side = ["--server-side"] if server_side else []
        return self("apply", *args, *side, namespace=namespace, stdin=stdin, timeout=timeout)

    def delete(
        self,
        what: Manifest,
        name: str | None = None,
        *,
        namespace: str | None = None,
        selector: str | None = None,
        missing_ok: bool = False,
        wait: bool = True,
        timeout: float | None = None,
    ) -> KubectlResult:
        """Delete objects.

        Args:
            what: A manifest as for `apply`, or a kind ("pod"), or a kind and a name ("pod/web").
            name: The name, where `what` is a kind.
            namespace: Where they are.
            selector: Labels, where `what` is a kind without a name.
            missing_ok: Whether it is fine that there is no such object.
            wait: Whether to return only once they are gone.
            timeout: Limit in seconds.

        Raises:
            KubectlError: There is no such object, it may not be deleted, or the time was up.
        """
        if isinstance(what, str) and not manifests.is_manifest(what):
            args: list[str | Path] = [what, *([name] if name else [])]
            stdin = None
        else:
            args, stdin = manifests.arguments(what)
        args += [f"--selector={selector}"] if selector else []
        flags = [f"--ignore-not-found={str(missing_ok).lower()}", f"--wait={str(wait).lower()}"]
        return self("delete", *args, *flags, namespace=namespace, stdin=stdin, timeout=timeout)

    def wait(
        self,
        resource: str,
        condition: str,
        *,
        namespace: str | None = None,
        selector: str | None = None,
        timeout: float = 30.0,
    ) -> KubectlResult:
        """Wait until a condition holds. An object that is not there yet is waited for as well.

        Args:
            resource: "deployment/web", or a kind together with `selector`.
            condition: "condition=Available", "jsonpath={.status.phase}=Running", "create" or "delete".
            namespace: Where it is.
            selector: Labels of the objects to wait for.
            timeout: Limit for all of it in seconds.

        Raises:
            KubectlError: The time was up, or there is no such kind.
        """
        deadline = time.monotonic() + timeout
        args = ["wait", resource, f"--for={condition}", *([f"--selector={selector}"] if selector else [])]
        while True:
            # kubectl takes 0 for "look once", and a negative limit for a week.
            left = max(deadline - time.monotonic(), 0)
            # kubectl keeps the limit itself, and says what it waited for; ours is the net below it.
            result = self(*args, f"--timeout={left:.3f}s", namespace=namespace, check=False, timeout=left + 10)
            if result.returncode == 0:
                return result
            # To kubectl, an object that is not there yet is an error; a test waits for that one most often.
            missing = "(NotFound)" in result.stderr or "no matching resources found" in result.stderr
            if left == 0 or not missing:
                raise KubectlError(result.command, result.returncode, result.stderr, result.stdout)
            time.sleep(min(left, 0.2))

    def logs(
        self,
        resource: str,
        *,
        namespace: str | None = None,
        container: str | None = None,
        previous: bool = False,
        tail: int | None = None,
    ) -> str:
        """What a container wrote so far.

        Args:
            resource: A pod's name, or "deployment/web", "job/migrate".
            namespace: Where it is.
            container: Which container; None is the default one.
            previous: Whether to read the one that ran before the last restart.
            tail: Only so many lines from the end.
        """
        args = ["logs", resource, *([f"--container={container}"] if container else [])]
        args += ["--previous"] if previous else []
        args += [f"--tail={tail}"] if tail is not None else []
        return self(*args, namespace=namespace).stdout

    def exec(
        self,
        pod: str,
        *command: str,
        namespace: str | None = None,
        container: str | None = None,
        stdin: str | None = None,
        check: bool = True,
        timeout: float | None = None,
    ) -> KubectlResult:
        """Run a command in a container.

        Args:
            pod: The pod's name, or "deployment/web" for one of its pods.
            command: The argv to run; no shell is added.
            namespace: Where the pod is.
            container: Which container; None is the default one.
            stdin: Text for the command's standard input.
            check: Whether a failing exit code (kubectl hands on the command's own) is an error.
            timeout: Limit in seconds.
        """
        args = ["exec", pod, *([f"--container={container}"] if container else [])]
        args += ["--stdin"] if stdin is not None else []
        return self(*args, "--", *command, namespace=namespace, stdin=stdin, check=check, timeout=timeout)

    def cp(
        self,
        source: str | Path,
        target: str | Path,
        *,
        namespace: str | None = None,
        container: str | None = None,
        timeout: float | None = None,
    ) -> KubectlResult:
        """Copy a file or a directory from or to a container, which must have `tar`.

        Args:
            source: A local path, or "pod:path".
            target: The other of the two.
            namespace: Where the pod is.
            container: Which container; None is the default one.
            timeout: Limit in seconds.
        """
        which = [f"--container={container}"] if container else []
        return self("cp", source, target, *which, namespace=namespace, timeout=timeout)

    @contextlib.contextmanager
    def port_forward(
        self, resource: str, port: int | str, *, namespace: str | None = None, timeout: float = 30.0
    ) -> Iterator[int]:
        """Reach a port of a pod from this machine.

        Args:
            resource: A pod's name, or "service/web", "deployment/web".
            port: The port's number or name over there.
            namespace: Where it is.
            timeout: Limit in seconds until kubectl listens.

        Yields:
            The port on 127.0.0.1; it is closed when the block ends, however it ends.

        Raises:
            KubectlError: kubectl could not forward, or its time was up.
        """
        from .portforward import forward

        args = ("port-forward", "--address=127.0.0.1", resource, f":{port}")
        with forward(self._command(args, namespace), _environment(), timeout) as local:
            yield local

    def _command(self, args: Sequence[str | Path], namespace: str | None) -> list[str]:
        command = [str(self.executable), f"--kubeconfig={self.kubeconfig}"]
        command += [f"--cache-dir={self._cache_dir}"] if self._cache_dir else []
        command += [f"--namespace={namespace}"] if namespace else []
        return [*command, *map(str, args)]


def end(process: subprocess.Popen[str]) -> None:
    """End a child and its whole process group at once, and reap it. kubectl has nothing to tidy up."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _environment() -> dict[str, str]:
    environment = {name: value for name, value in os.environ.items() if name != "KUBECONFIG"}
    # A user's own defaults and aliases (~/.kube/kuberc) would make tests pass on one machine only.
    environment["KUBERC"] = "off"
    environment["KUBECTL_KUBERC"] = "false"
    return environment
