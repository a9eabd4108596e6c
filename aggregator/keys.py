"""Which group an upload belongs to: device type by configuration, model and context schema as they are.

Statistics may be added only if their columns mean the same, so another model hash, schema or dimension
is another group. This file must never look at what an upload holds.
"""

from collections.abc import Mapping
from typing import NamedTuple

from bus.errors import ConfigurationError
from bus.names import require_name


class GroupKey(NamedTuple):
    """Names one group.

    Attributes:
        group: name by configuration. model, schema: hashes. dimension: columns.
    """

    group: str
    model: str
    schema: str
    dimension: int


class Grouping:
    """Device types to groups and back.

    Args:
        groups: device types of each configured group.
        accept_unknown_types: a type that is in no configured group becomes a group of its own, called
            like the type; otherwise it is refused.

    Raises:
        ConfigurationError: a type in two groups, an empty group, or a word that is no name.
    """

    def __init__(self, groups: Mapping[str, tuple[str, ...]], *, accept_unknown_types: bool = True) -> None:
        self._types: dict[str, tuple[str, ...]] = {}
        self._group: dict[str, str] = {}
        self._accept_unknown_types = accept_unknown_types
        for group, types in groups.items():
            require_name(group, "group")
            if not types:
                raise ConfigurationError(f"group {group} has no device types: list them, or leave it out")
            for type_ in types:
                other = self._group.setdefault(require_name(type_, "device type"), group)
                if other != group:
                    raise ConfigurationError(
                        f"device type {type_} is in the groups {other} and {group}: leave it in one"
                    )
            self._types[group] = tuple(dict.fromkeys(types))

    def group_of(self, type_: str) -> str | None:
        """Return the group's name, or None if the type is refused.

        A type that is called like a configured group without belonging to it is refused always: its own
        group would have that name already.
        """
        if type_ in self._group:
            return self._group[type_]
        return type_ if self._accept_unknown_types and type_ not in self._types else None

    def types_of(self, group: str) -> tuple[str, ...]:
        """Return the types that hear a group's broadcasts.

        None of them for a group that the configuration has since given up; its sum is kept all the same.
        """
        return self._types.get(group, (group,) if self.group_of(group) == group else ())
