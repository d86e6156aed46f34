"""Pods and pod templates: defaults, validation and print columns."""
