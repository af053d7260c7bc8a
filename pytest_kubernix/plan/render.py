"""A plan as text that people read and golden tests compare: what a dry run prints.
Secrets never appear; everything else does, in the order in which it would happen."""

from __future__ import annotations

import json
import re
import shlex

from .model import ComponentPlan, File, NamespacePlan, Plan

PRIVATE = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----", re.DOTALL)
PUBLIC = re.compile(r"-----BEGIN ([A-Z ]*)-----.*?-----END \1-----", re.DOTALL)
# Inside kubeconfigs and the encryption configuration, keys and certificates are base64.
DATA = re.compile(r'"(client-key-data|client-certificate-data|certificate-authority-data|secret|token)": "[^"]*"')


def render(plan: Plan) -> str:
    """The whole plan as text."""
    lines = [f"# cluster {plan.cluster_id}: {plan.server}", f"# in {plan.run_dir}", ""]
    for file in plan.files:
        lines += _file(file)
    for namespace in plan.namespaces:
        lines += _namespace(namespace)
    for phase, components in plan.by_phase():
        lines += ["", f"## phase {phase.title}"]
        for component in components:
            lines += render_component(component)
    lines += ["", "## ready when"]
    lines += [f"  {probe}" + (f" (from {probe.within})" if probe.within != "host" else "") for probe in plan.final]
    return "\n".join(lines) + "\n"


def redact(text: str) -> str:
    """The text with keys and certificates replaced by a word for each."""
    text = PRIVATE.sub("<private key>", text)
    text = PUBLIC.sub(lambda match: f"<{match[1].lower()}>", text)
    return DATA.sub(r'"\1": "<hidden>"', text)


def _file(file: File, indent: str = "") -> list[str]:
    content = redact(file.content).rstrip("\n").splitlines()
    return [f"{indent}file {file.path} ({file.mode:04o})", *(f"{indent}  | {line}" for line in content)]


def _namespace(plan: NamespacePlan) -> list[str]:
    lines = ["", f"## namespace {plan.name}: {', '.join(plan.kinds)}"]
    if plan.init:
        lines.append(f"  process 1: {shlex.join(plan.init)}")
    if plan.cgroup:
        lines.append(f"  cgroup: {plan.cgroup}")
    lines += ["  inside:", *(f"    $ {line}" for line in plan.setup.splitlines())]
    if plan.host_setup:
        lines += ["  on the host:", *(f"    $ {line}" for line in plan.host_setup.splitlines())]
    for file in plan.files:
        lines += _file(file, "  ")
    return lines


def render_component(plan: ComponentPlan) -> list[str]:
    """One component, line by line."""
    lines = ["", f"### {plan.name} (in {plan.within})"]
    for file in plan.files:
        lines += _file(file, "  ")
    if plan.waits_for is not None:
        waits = "loads, and waits for" if plan.held else "waits for"
        lines.append(f"  {waits} {', '.join(plan.waits_for) or 'nothing'}")
    lines += [f"  copy {copy.source} to {copy.path}" for copy in plan.copies]
    for item in plan.objects:
        body = json.dumps(item.body, sort_keys=True)
        lines.append(f"  create {item.path}: {body}")
    lines += [f"  env {name}={value}" for name, value in sorted(plan.env.items())]
    lines += [f"  env {name}={value} (at its first start)" for name, value in sorted(plan.first_env.items())]
    executable, *arguments = plan.argv
    lines += [f"  run {executable}", *(f"    {argument}" for argument in arguments)]
    lines += [f"  ready: {probe}" for probe in plan.ready]
    lines += [f"  then {shlex.join(command.argv)}" for command in plan.after]
    return lines
