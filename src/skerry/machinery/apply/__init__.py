"""Server-side apply: who owns which field of an object, and how applied configurations are merged.

Every writer of an object has a name, and for each name `metadata.managedFields` keeps the set of fields that it wrote.
An update (PUT, or a patch of the old kinds) takes what it changes. An apply says all that its author cares about: these
fields are merged into the object and become the author's; what the author said last time and left out now is removed,
if nobody else wants it; what another owner holds with another value is a conflict, unless the author forces it.

    elements    one step of a path: a field, an item of a list by its keys, a member of a set
    sets        sets of fields in the form that they have in JSON (`fieldsV1`): union, difference, intersection
    schema      what is owned as a whole, what field by field, and which keys tell the items of a list apart
    structs     such a schema from struct types; jsonschema: from the schema of a custom resource
    fields      the set of fields of an object
    comparing   what changed between two objects, as sets
    merging     a configuration into an object; pruning: fields out of an object
    checking    whether a configuration fits a schema, in the words of the real server
    owners      `metadata.managedFields` as a table of writers, read and written
    manager     `FieldManager`: update and apply, put together
    conflicts   what an apply without force answers
    lastapplied the way from kubectl's client-side apply

Facts: sigs.k8s.io/structured-merge-diff v6 and k8s.io/apimachinery `pkg/util/managedfields`, read for their behaviour.
"""
