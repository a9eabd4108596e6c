"""What needs root, namespaces and cgroups is skipped where they are not to be had, and says why."""

import pytest

from lab.namespaces.able import first_unmet

_UNMET = first_unmet()
needs_namespaces = pytest.mark.skipif(
    _UNMET is not None, reason=f"needs {_UNMET.name} ({_UNMET.found})" if _UNMET else ""
)
