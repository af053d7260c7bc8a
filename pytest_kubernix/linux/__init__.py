"""What the Linux kernel gives: calls that Python lacks, /proc, cgroups, limits, priority.
Nothing here knows what a cluster is."""
