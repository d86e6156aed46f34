"""What the kubelet would do: pods become processes."""
