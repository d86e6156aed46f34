"""Who asks, and may they: authentication, impersonation, RBAC, ServiceAccount tokens and the reviews that tell of it.

    gate             the one place where a request, or a WebSocket's handshake, is let in or refused
    authentication   certificates, bearer tokens, callers inside this process → User
    impersonation    `kubectl --as`
    roles            roles and bindings in memory, kept by the store
    authorizer       may this user do that
    guard            what a write needs beside its verb: no more rights given away than held, hosts of Routes
    jwt, keys        signed tokens
    accounts         tokens of ServiceAccounts: claims, and whether they still hold
    token_api        TokenRequest, TokenReview, SelfSubjectReview
    review_api       SubjectAccessReview and its kin
    defaults         the roles that every cluster has, and how they are kept

Facts: k8s.io/apiserver `pkg/authentication`, `pkg/endpoints/filters`; kubernetes `plugin/pkg/auth/authorizer/rbac`,
`pkg/registry/rbac`, `pkg/serviceaccount`.
"""
