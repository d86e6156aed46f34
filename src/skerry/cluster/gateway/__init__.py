"""What the router and kube-proxy would do: Routes and Services to pod addresses."""
