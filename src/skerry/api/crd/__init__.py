"""CustomResourceDefinitions: the kind itself, and the kinds that its objects make.

kind        CustomResourceDefinition as a served kind: columns, defaults
validation  what a definition must be, in Kubernetes' words
naming      which of its names a definition gets, and the conditions that say so
kinds       the served kinds of a definition
native      definitions of the kinds that are built in here and custom resources elsewhere
"""

from typing import Final

GROUP: Final = "apiextensions.k8s.io"
VERSION: Final = "v1"
PLURAL: Final = "customresourcedefinitions"
RESOURCE: Final = f"{PLURAL}.{GROUP}"
STORAGE_KEY: Final = f"{GROUP}/{PLURAL}"
CLEANUP_FINALIZER: Final = "customresourcecleanup.apiextensions.k8s.io"
