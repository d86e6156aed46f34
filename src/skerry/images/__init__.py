"""OCI images: references, the local store, registries, archives, and ModelCars made from a directory.

An image travels as blobs named by their sha256 digest. Nothing is trusted that was not hashed: a blob enters the store
after its digest and size were checked, a layer is unpacked while its compressed and its plain digest are checked, and
the unpacked tree is remembered file by file, so that damage is noticed before a model server reads it.

What the rest of the house uses: `provider.ImageProvider` (the node), `store.ImageStore`, `build`, `archive` and
`registry` (the command line).
"""
