"""Networks of other libraries as data: `build`, for classes that want a configuration object.

Most libraries' networks need nothing of this: `cans partition 'module:Class({"width": 16})'` calls them.
Some take an object that JSON cannot hold. Here such an object is written as the call that makes it.
"""

import importlib
from typing import Any


def build(**call: Any) -> Any:  # noqa: ANN401 - whatever the callable returns
    """Make what one call makes, the calls among its arguments first.

    A call is an object with one key, `module:callable`; its value holds the arguments, an object by name or
    a list by position; null names the callable itself. Whatever else stands among the arguments is handed
    over as it is. Example: `{"transformers:BertModel": [{"transformers:BertConfig": {"hidden_size": 64}}]}`.
    """
    return _made(call)


def _made(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, list):
        return [_made(each) for each in value]
    if not isinstance(value, dict):
        return value
    made = {key: _made(each) for key, each in value.items()}
    if len(made) != 1 or ":" not in next(iter(made)):
        return made
    [(name, arguments)] = made.items()
    place, _, attribute = name.partition(":")
    target: Any = importlib.import_module(place)
    for part in attribute.split("."):
        target = getattr(target, part)
    if arguments is None:
        return target
    return target(**arguments) if isinstance(arguments, dict) else target(*arguments)
