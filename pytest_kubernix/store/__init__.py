"""What is done to a cluster's etcd directly, past the API server: prepared data, checkpoints, rollbacks.
Only where etcd is ours; keys are bytes, and values are never looked into."""
