"""The kinds that Skerry serves: typed structs, defaults, validation and print columns. No I/O."""
