"""Runner: one cluster, one user, perhaps one namespace, and the way kubectl is called for them.
`commands.py` builds on it, one method for each thing that tests do most."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from .call import KubectlResult, failure, run, seconds


class Runner:
    """Runs kubectl against one cluster, as one user.

    Args:
        executable: The kubectl to run.
        kubeconfig: Whose access it uses.
        cache_dir: Where it keeps what it learnt about the API; None is kubectl's own default.
        timeout: Limit for each run in seconds, where a call gives none of its own.
        namespace: The namespace to act in; None is the kubeconfig's, which is "default".
    """

    def __init__(
        self,
        executable: Path,
        kubeconfig: Path,
        *,
        cache_dir: Path | None = None,
        timeout: float = 120.0,
        namespace: str | None = None,
    ) -> None:
        self.executable = executable
        self.kubeconfig = kubeconfig
        self.timeout = timeout
        self.namespace = namespace
        self._cache_dir = cache_dir

    def __repr__(self) -> str:
        bound = f", namespace={self.namespace!r}" if self.namespace else ""
        return f"{type(self).__name__}({str(self.kubeconfig)!r}{bound})"

    def using(self, kubeconfig: Path) -> Self:
        """The same kubectl as another user: `kubectl.using(cluster.user("alice"))`. A namespace stays.

        Args:
            kubeconfig: Path of that user's kubeconfig.

        Raises:
            FileNotFoundError: There is no such file.
        """
        if not Path(kubeconfig).is_file():
            raise FileNotFoundError(f"using({str(kubeconfig)!r}): there is no such kubeconfig")
        other = copy.copy(self)
        other.kubeconfig = Path(kubeconfig)
        return other

    def in_namespace(self, namespace: str) -> Self:
        """The same kubectl, acting in a namespace wherever a call names no other: `namespace=` still wins.

        Raises:
            ValueError: It is empty.
        """
        other = copy.copy(self)
        other.namespace = _named(namespace)
        return other

    def __call__(
        self,
        *args: str | Path,
        namespace: str | None = None,
        stdin: str | bytes | None = None,
        check: bool = True,
        timeout: float | None = None,
    ) -> KubectlResult:
        """Run kubectl with these arguments.

        Args:
            args: What one would type after `kubectl`.
            namespace: The namespace to act in; None is the one that this object is bound to, if any, or
                else the kubeconfig's, which is "default".
            stdin: Text or bytes for its standard input.
            check: Whether a failing exit code is an error.
            timeout: Limit in seconds; None is the limit that this object was made with.

        Raises:
            KubectlError: It failed (unless `check=False`), or its time was up (always; `returncode` is None).
            TypeError: An argument is neither a text nor a path.
            ValueError: The first argument is several words, or the limit is no number.
        """
        __tracebackhide__ = True
        for arg in args:
            if not isinstance(arg, (str, Path)):
                raise TypeError(f"kubectl({arg!r}): allowed are texts and paths, each an argument of its own")
        if args:
            one_word("kubectl", args[0])
        limit = seconds(self.timeout if timeout is None else timeout)
        result = run(self._command(args, namespace), stdin=stdin, limit=limit)
        if check and result.returncode != 0:
            raise failure(result.command, result.returncode, result.stderr, result.stdout)
        return result

    def with_default_namespace(
        self,
        *args: str | Path,
        namespace: str | None,
        stdin: str | bytes | None,
        check: bool = True,
        timeout: float | None = None,
    ) -> KubectlResult:
        """Run kubectl so that objects that name a namespace keep it, and others get this one.

        With the flag, kubectl refuses objects of other namespaces; as the context's, it is only the default.
        Arguments, and errors, as for a call.
        """
        __tracebackhide__ = True
        where = self._where(namespace)
        if not where:
            return self(*args, stdin=stdin, check=check, timeout=timeout)
        with tempfile.NamedTemporaryFile("w", prefix="kubernix-context-", suffix=".json", encoding="utf-8") as context:
            json.dump(_context(self.kubeconfig, where), context)
            context.flush()
            # Of two files, the first to name a context wins; all else is in the second.
            variables = {"KUBECONFIG": os.pathsep.join([context.name, str(self.kubeconfig)])}
            command = [str(self.executable), *([f"--cache-dir={self._cache_dir}"] if self._cache_dir else [])]
            limit = seconds(self.timeout if timeout is None else timeout)
            result = run([*command, *map(str, args)], stdin=stdin, limit=limit, variables=variables)
        # As one would type it.
        result = dataclasses.replace(result, command=tuple(self._command(args, namespace)))
        if check and result.returncode != 0:
            raise failure(result.command, result.returncode, result.stderr, result.stdout)
        return result

    def _where(self, namespace: str | None) -> str | None:
        """The namespace to act in, or None for the kubeconfig's."""
        return self.namespace if namespace is None else _named(namespace)

    def _command(self, args: Sequence[str | Path], namespace: str | None) -> list[str]:
        where = self._where(namespace)
        command = [str(self.executable), f"--kubeconfig={self.kubeconfig}"]
        command += [f"--cache-dir={self._cache_dir}"] if self._cache_dir else []
        command += [f"--namespace={where}"] if where else []
        return [*command, *map(str, args)]


def _named(namespace: str) -> str:
    if namespace == "":
        # kubectl would take it for the kubeconfig's own.
        raise ValueError('namespace="": allowed is the name of a namespace, or None')
    return namespace


def _context(kubeconfig: Path, namespace: str) -> dict[str, Any]:
    """A kubeconfig that has only the current context of another one, with this namespace."""
    text = kubeconfig.read_text(encoding="utf-8")
    try:
        config = json.loads(text)
    except ValueError:
        import yaml

        config = yaml.safe_load(text)
    name = config.get("current-context", "")
    context: dict[str, Any] = next(
        (each["context"] for each in config.get("contexts") or [] if each["name"] == name), {}
    )
    changed = {"name": name, "context": {**context, "namespace": namespace}}
    return {"apiVersion": "v1", "kind": "Config", "contexts": [changed], "current-context": name}


def one_word(method: str, word: str | Path) -> None:
    """Refuse what was typed as for a shell: kubectl would look for a kind or command with spaces in its name.

    Raises:
        ValueError: There are several words.
    """
    words = str(word).split()
    if isinstance(word, str) and len(words) > 1:
        apart = ", ".join(f'"{each}"' for each in words)
        raise ValueError(f"{method}({word!r}): each word is an argument of its own: {method}({apart})")


def selected(selector: str | None) -> list[str]:
    """The argument that chooses objects by their labels, if any.

    Raises:
        TypeError: It is no text.
    """
    if not isinstance(selector, (str, type(None))):
        raise TypeError(f'selector={selector!r}: allowed is a text, such as "app=web,tier!=db"')
    return [f"--selector={selector}"] if selector else []
