"""What the services are declared in, for reflection."""
