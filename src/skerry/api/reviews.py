"""authentication.k8s.io/v1 and authorization.k8s.io/v1: kinds that are asked and never stored."""

from typing import Final

import msgspec
from lightkube.models import authentication_v1, authorization_v1

from skerry.api.cells import NAME_COLUMN
from skerry.api.registry import Kind

AUTHENTICATION: Final = "authentication.k8s.io"
AUTHORIZATION: Final = "authorization.k8s.io"


def _asked(group: str, kind: str, model: type[msgspec.Struct], *, namespaced: bool = False) -> Kind:
    plural = f"{kind.lower()}s"
    return Kind(group, "v1", kind, plural, namespaced, model, columns=(NAME_COLUMN,), verbs=("create",))


SELF_SUBJECT_REVIEW: Final = _asked(AUTHENTICATION, "SelfSubjectReview", authentication_v1.SelfSubjectReview)
TOKEN_REVIEW: Final = _asked(AUTHENTICATION, "TokenReview", authentication_v1.TokenReview)
LOCAL_ACCESS_REVIEW: Final = _asked(
    AUTHORIZATION, "LocalSubjectAccessReview", authorization_v1.LocalSubjectAccessReview, namespaced=True
)
SELF_ACCESS_REVIEW: Final = _asked(AUTHORIZATION, "SelfSubjectAccessReview", authorization_v1.SelfSubjectAccessReview)
SELF_RULES_REVIEW: Final = _asked(AUTHORIZATION, "SelfSubjectRulesReview", authorization_v1.SelfSubjectRulesReview)
ACCESS_REVIEW: Final = _asked(AUTHORIZATION, "SubjectAccessReview", authorization_v1.SubjectAccessReview)

REVIEW_KINDS: Final = (
    SELF_SUBJECT_REVIEW,
    TOKEN_REVIEW,
    LOCAL_ACCESS_REVIEW,
    SELF_ACCESS_REVIEW,
    SELF_RULES_REVIEW,
    ACCESS_REVIEW,
)
