"""The end of a sentence about a name that does not exist: which one was meant."""

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[object]) -> str:
    """Return ": did you mean ...?", or what there is to choose from where nothing is near."""
    names = [str(one) for one in known]
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f": did you mean {close[0]!r}?" if close else f": choose from {', '.join(names) or 'nothing'}"
