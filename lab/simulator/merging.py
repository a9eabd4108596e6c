"""A section of an experiment file with some of its keys changed. Pure."""

from typing import Any

from bus.errors import ConfigurationError

Table = dict[str, Any]


def merged(whole: Table, changed: Table) -> Table:
    """Return a section with some keys changed, those of sections inside it too; another kind starts anew.

    An item of a list is named by its place: `types.0.slowness` is `{"types": {"0": {"slowness": ...}}}`.

    Raises:
        ConfigurationError: a list has no item of that place.
    """
    if changed.get("kind", whole.get("kind")) != whole.get("kind"):
        return changed
    return {**whole, **{key: _value(key, whole.get(key), value) for key, value in changed.items()}}


def item_of(name: str, items: list[Any], place: str) -> int:
    """Return which item of a list a key names.

    Raises:
        ConfigurationError: none.
    """
    if place.isdecimal() and int(place) < len(items):
        return int(place)
    known = f"0 to {len(items) - 1}" if len(items) > 1 else "0" if items else "none"
    raise ConfigurationError(f"{name} is a list without an item {place!r}: there are {known}")


def _value(name: str, old: Any, new: Any) -> Any:  # noqa: ANN401 - whatever TOML holds
    if isinstance(new, dict) and isinstance(old, dict):
        return merged(old, new)
    if not (isinstance(new, dict) and isinstance(old, list)):
        return new
    items = list(old)
    for place, value in new.items():
        at = item_of(name, items, place)
        items[at] = _value(f"{name}.{place}", items[at], value)
    return items
