"""What every room may use: disk writes that survive a power cut, process identity, the clock, logging.

Standard library only; no Kubernetes, no HTTP.
"""
