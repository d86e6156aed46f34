"""What kube-controller-manager, the scheduler and the route controllers would do."""
