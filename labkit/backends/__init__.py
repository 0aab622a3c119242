"""A file per runtime. `labkit.backends()` lists them and says which are usable here.

The list is a function and this folder is a package, and both are called `backends`, so the
package is made callable.
"""
from __future__ import annotations

import sys
import types


class _CallablePackage(types.ModuleType):
    def __call__(self):
        """Every known backend, whether it is usable on this machine, and if not, what would help."""
        from labkit.backends.registry import list_backends
        return list_backends()


sys.modules[__name__].__class__ = _CallablePackage
