"""The tables of protobuf fields, by API group; read by `protobuf_fields`."""
