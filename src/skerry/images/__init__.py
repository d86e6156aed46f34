"""OCI images: references, the local store, registries, building ModelCars."""
