"""A `storageUri` to a local directory (s3, gs, https, …). Comes with a later issue; `oci://` is in `images`."""
