"""Patches: single flags and variables of a component that are set, added or dropped, without replacing its class.
They come from `ClusterConfig.component_args` and from plugins, and are applied to the plan that the component built."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..config import FlagValue, Scalar
from .model import ComponentPlan

# Flags of etcd and kube-apiserver that change nothing of what an API server writes at its first start; those that
# end with a dash begin names. With any other, the cluster begins without prepared data.
HARMLESS = (
    "anonymous-auth", "audit-", "authentication-", "cors-allowed-origins", "event-ttl", "goaway-chance", "http2-max-",
    "log-", "logging-format", "max-", "min-request-timeout", "oidc-", "profiling", "quota-backend-bytes",
    "request-timeout", "service-account-", "shutdown-", "tls-", "v", "vmodule", "watch-cache-",
)  # fmt: skip


@dataclass(frozen=True)
class Patch:
    """What is to be different of a component.

    Attributes:
        flags: Flag, without its dashes → value; a sequence is the flag once for each; None drops it.
        env: Variable → value; None drops it.
    """

    flags: Mapping[str, FlagValue] = field(default_factory=dict)
    env: Mapping[str, str | None] = field(default_factory=dict)

    def apply(self, plan: ComponentPlan) -> ComponentPlan:
        """The plan with the changes."""
        program, *arguments = plan.argv
        kept = [each for each in arguments if _name(each) not in self.flags]
        added = [f"--{name}={_spelled(one)}" for name, value in self.flags.items() for one in _each(value)]
        # Flags stay sorted, so that plans compare; where there are other words, the new flags come first.
        only_flags = all(each.startswith("--") for each in kept)
        argv = sorted([*kept, *added], key=_name) if only_flags else [*added, *kept]
        env = {**plan.env, **{name: value for name, value in self.env.items() if value is not None}}
        for name in [name for name, value in self.env.items() if value is None]:
            env.pop(name, None)
        return dataclasses.replace(plan, argv=(program, *argv), env=env)

    @property
    def harmless(self) -> bool:
        """Whether prepared data fits an API server or an etcd with these changes."""
        return not self.env and all(_is_harmless(name) for name in self.flags)


def _is_harmless(flag: str) -> bool:
    # "v" is a flag, and not the beginning of all that begin with one.
    return any(flag == known or (known.endswith("-") and flag.startswith(known)) for known in HARMLESS)


def of_kind(component: str) -> str:
    """What a component is one of: "kubelet" for "kubelet/node-2"."""
    return component.partition("/")[0]


def _each(value: FlagValue) -> list[Scalar]:
    """What a flag is set to, one after another; nothing for None."""
    several = [value] if isinstance(value, (str, int, float, bool, type(None))) else value
    return [one for one in several if one is not None]


def _name(argument: str) -> str:
    return argument.removeprefix("--").partition("=")[0] if argument.startswith("--") else ""


def _spelled(value: Scalar) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
