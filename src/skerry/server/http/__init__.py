"""HTTP/1.1 for the data path.

A hand-written asyncio protocol, because ready-made servers cost several times what a small model does.
"""
