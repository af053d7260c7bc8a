"""Carrying out a plan: namespaces, processes, readiness, supervision, the end.
Knows no Kubernetes flag, and imports the standard library only: the guardian starts in milliseconds."""
