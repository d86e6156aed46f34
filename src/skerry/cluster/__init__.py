"""The embedded single-node cluster. Its rooms meet only through objects in the API."""
