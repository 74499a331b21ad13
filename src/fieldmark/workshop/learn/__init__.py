"""One file a task: targets, network, loss."""
