"""Regular expressions as Kubernetes means them: RE2's syntax, in time linear to the text.

Patterns of custom resource definitions come from strangers. Python's `re` understands another dialect and backtracks:
`(a+)+$` against thirty letters would hold up the whole server. So a pattern is parsed here (`parser`), compiled into
a small automaton and run over the text once (`matcher`). RE2 has neither look-around nor back-references, which is
what makes this possible.
"""

from skerry.machinery.re2.matcher import Pattern, compiled
from skerry.machinery.re2.parser import PatternError, UnsupportedPattern

__all__ = ["Pattern", "PatternError", "UnsupportedPattern", "compiled"]
