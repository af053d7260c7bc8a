"""The methods of Kubectl: what tests ask of a cluster most, one method each.
Arguments in, one run of kubectl (or a few), and what it said."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, Literal

from . import manifests, serving, waiting
from .call import KubectlResult, failure
from .manifests import Manifest
from .runner import Runner, one_word, selected

CRD_TIMEOUT = 30.0
"""Seconds for a CRD to be served, where a call gives no limit of its own."""


class Kubectl(Runner):
    """Runs kubectl against one cluster, as one user; `Runner` has its arguments.

    Where a method takes a namespace, None is the one of `in_namespace(...)`, or else "default".
    """

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
        __tracebackhide__ = True
        one_word(".get", kind)
        args = ["get", kind, *([name] if name else []), "--output=json", *selected(selector)]
        args += ["--all-namespaces"] if all_namespaces else []
        found: dict[str, Any] = json.loads(self(*args, namespace=namespace).stdout)
        return found

    def apply(
        self,
        what: Manifest,
        *,
        namespace: str | None = None,
        server_side: bool = False,
        wait: bool = True,
        timeout: float | None = None,
    ) -> KubectlResult:
        """Create or change objects.

        A CustomResourceDefinition among them is served when this returns: its kind can be created, listed,
        watched and found by every client. Objects of that kind may stand in the same manifest.

        Args:
            what: A file or directory (a kustomization too), a URL, one object, several, or YAML text. Objects are
                dictionaries, or models of `kubernetes.client`; in a list, None is an empty document.
            namespace: For objects that name none themselves.
            server_side: Whether the API server merges, rather than kubectl.
            wait: Whether to return only once all CRDs among them are served, which takes leave to read them
                and to list their kinds. Nothing else is waited for: that is what `wait()` does.
            timeout: Limit for all of it in seconds; None is this object's, and 30 s for CRDs.

        Raises:
            FileNotFoundError: There is no such file.
            TypeError: It is nothing that can be applied.
            ValueError: There is no object in it.
            KubectlError: The API server refused one, or a CRD was not served in time.
        """
        __tracebackhide__ = True
        args, stdin = manifests.arguments(what)
        command = ["apply", *args, *(["--server-side"] if server_side else [])]
        limit = CRD_TIMEOUT if timeout is None else timeout
        deadline = time.monotonic() + limit
        run = partial(self.with_default_namespace, *command, namespace=namespace, stdin=stdin, timeout=timeout)
        result = run(check=False)
        if result.returncode != 0 and "(AlreadyExists)" in result.stderr:
            # Another worker made it between kubectl's look and its own attempt; now there is something to change.
            result = run(check=False)
        crds = waiting.applied_crds(result.stdout) if wait else []
        # kubectl looks for the kinds of all objects before it creates the first of them.
        again = result.returncode != 0 and "no matches for kind" in result.stderr
        if crds and (result.returncode == 0 or again):
            left = limit if timeout is None else max(deadline - time.monotonic(), 0)
            serving.wait_until_served(self, crds, timeout=left)
            if again:
                return run()
        if result.returncode != 0:
            raise failure(result.command, result.returncode, result.stderr, result.stdout)
        return result

    def patch(
        self,
        resource: str,
        change: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        type: Literal["merge", "json", "strategic"] = "merge",  # noqa: A002 - as kubectl calls it
        subresource: str | None = None,
        namespace: str | None = None,
        timeout: float | None = None,
    ) -> KubectlResult:
        """Change an object: `kubectl.patch("website/home", {"spec": {"replicas": 3}})`.

        Args:
            resource: Such as "deployment/web".
            change: What should be different; for a JSON patch, its list of operations.
            type: How to understand it: "merge" (RFC 7386; lists are replaced, None removes), "json" (RFC 6902)
                or "strategic" (lists are merged by their keys; not for custom resources).
            subresource: Such as "status" or "scale", to change that and not the object itself.
            namespace: Where it is.
            timeout: Limit in seconds.

        Raises:
            KubectlError: There is no such object, or the API server refused the change.
        """
        __tracebackhide__ = True
        one_word(".patch", resource)
        args = ["patch", resource, f"--type={type}", "--patch-file=/dev/stdin"]
        args += [f"--subresource={subresource}"] if subresource else []
        # By its input: a command line has a limit.
        return self(*args, namespace=namespace, stdin=json.dumps(change), timeout=timeout)

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
        __tracebackhide__ = True
        manifest = not isinstance(what, str) or manifests.is_manifest(what)
        if isinstance(what, str) and not manifest:
            one_word(".delete", what)
            args: list[str | Path] = [what, *([name] if name else [])]
            stdin = None
        else:
            args, stdin = manifests.arguments(what)
        args += selected(selector)
        flags = [f"--ignore-not-found={str(missing_ok).lower()}", f"--wait={str(wait).lower()}"]
        run = self.with_default_namespace if stdin is not None or manifest else self
        return run("delete", *args, *flags, namespace=namespace, stdin=stdin, timeout=timeout)

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
            KubectlError: The time was up, or there is no such kind. Its text ends with what the objects look
                like: status, conditions, containers that wait, and the last events.
            ValueError: The condition or the limit is none.
        """
        __tracebackhide__ = True
        return waiting.wait_for(self, resource, condition, namespace=namespace, selector=selector, timeout=timeout)

    def can_i(
        self,
        verb: str,
        resource: str,
        name: str | None = None,
        *,
        subresource: str | None = None,
        namespace: str | None = None,
        all_namespaces: bool = False,
    ) -> bool:
        """Whether this user may do something: `kubectl.using(alice).can_i("list", "pods")`.

        Args:
            verb: Such as "get", "list", "create"; "*" is all of them.
            resource: Such as "pods" or "deployments.apps", or a path such as "/healthz".
            name: One object; None asks about all of that kind.
            subresource: Such as "log" or "status".
            namespace: Where.
            all_namespaces: Whether it has to hold everywhere.

        Raises:
            KubectlError: There is no such resource, which kubectl only warns of, or there was no answer.
        """
        __tracebackhide__ = True
        args = ["auth", "can-i", verb, f"{resource}/{name}" if name else resource]
        args += [f"--subresource={subresource}"] if subresource else []
        args += ["--all-namespaces"] if all_namespaces else []
        result = self(*args, namespace=namespace, check=False)
        answer = result.stdout.partition(" ")[0].strip()
        # A name with a mistake in it is never allowed, and the test that expects "no" would pass.
        if answer not in {"yes", "no"} or "doesn't have a resource type" in result.stderr:
            raise failure(result.command, result.returncode, result.stderr, result.stdout)
        return answer == "yes"

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
        __tracebackhide__ = True
        one_word(".logs", resource)
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
        stdin: str | bytes | None = None,
        check: bool = True,
        timeout: float | None = None,
    ) -> KubectlResult:
        """Run a command in a container.

        Args:
            pod: The pod's name, or "deployment/web" for one of its pods.
            command: The argv to run; no shell is added.
            namespace: Where the pod is.
            container: Which container; None is the default one.
            stdin: Text or bytes for the command's standard input.
            check: Whether a failing exit code (kubectl hands on the command's own) is an error.
            timeout: Limit in seconds.
        """
        __tracebackhide__ = True
        if len(command) == 1:
            one_word(f".exec({pod!r}, …)", command[0])
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
        __tracebackhide__ = True
        which = [f"--container={container}"] if container else []
        return self("cp", source, target, *which, namespace=namespace, timeout=timeout)

    def port_forward(
        self, resource: str, port: int | str, *, namespace: str | None = None, timeout: float = 30.0
    ) -> AbstractContextManager[int]:
        """Reach a port of a pod from this machine.

        Args:
            resource: A pod's name, or "service/web", "deployment/web".
            port: The port's number or name over there.
            namespace: Where it is.
            timeout: Limit in seconds until kubectl listens.

        Returns:
            A context manager: it gives the port on 127.0.0.1, and closes it when the block ends, however it ends.

        Raises:
            KubectlError: kubectl could not forward, or its time was up.
        """
        from .forward import Forward

        args = ("port-forward", "--address=127.0.0.1", resource, f":{port}")
        return Forward(self._command(args, namespace), timeout)
