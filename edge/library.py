"""Keeps an edge worker's tails in step with its model folder; called from one thread at a time.

A model that is added is loaded and warmed here before anybody hears of it; so is one that was given other
bottlenecks, and takes the place of what it was. One that is removed is still answered for a while, which the
session decides; its tails stay until the session has dropped it.
This file must never take a model from the bus: only the folder says what is loaded.
"""

from collections import deque
from collections.abc import Callable
from pathlib import Path

import structlog

from bus.errors import ConfigurationError
from edge import events as ev
from edge.settings import MOST_MODELS
from edge.tails import PartitionedTails
from partition.models.folder import hashes, version
from partition.partitioned import PartitionedModel

Load = Callable[[str], PartitionedModel]
Change = ev.ModelLoaded | ev.ModelRemoved

_log = structlog.get_logger("edge")


class Library:
    """The models of one folder, among an edge worker's tails.

    Args:
        folder: where to look.
        tails: what to keep in step; those that it has already are not the folder's, and stay.
        load: opens an entry by its hash.
    """

    def __init__(self, folder: Path, tails: PartitionedTails, load: Load) -> None:
        self._folder = folder
        self._tails = tails
        self._load = load
        self._own = frozenset(tails.models)
        self._served: set[str] = set()
        # By hash, what the entry was when its tails were loaded.
        self._loaded: dict[str, tuple[int, int]] = {}
        # By hash, what the entry was when it could not be loaded: an entry made anew is tried again.
        self._failed: dict[str, tuple[int, int]] = {}
        self._told: set[str] = set()
        self._dropped: deque[str] = deque()

    def drop(self, model: str) -> None:
        """Let the next look forget the tails of a model; may be called from the loop."""
        self._dropped.append(model)

    def look(self) -> list[Change]:
        """Return what has changed in the folder, with at most one model loaded; takes seconds then.

        Raises:
            ConfigurationError: the folder cannot be read; everything is served as before.
        """
        there = frozenset(hashes(self._folder))
        if self._served and not self._folder.is_dir():
            raise ConfigurationError(
                f"the model folder {self._folder} is gone: its models are served until this worker ends"
            )
        while self._dropped:
            model = self._dropped.popleft()
            if model not in self._served:  # else it has come back before this look
                self._tails.drop(model)
                self._loaded.pop(model, None)
        changes: list[Change] = [ev.ModelRemoved(model) for model in sorted(self._served - there)]
        self._served &= there
        self._failed = {model: at for model, at in self._failed.items() if model in there}
        for model in sorted(there - self._own):
            if self._take_up(model):
                self._served.add(model)
                arms, batches = self._tails.models[model], self._tails.batches[model]
                return [*changes, ev.ModelLoaded(model, arms, batches)]
        return changes

    def _take_up(self, model: str) -> bool:
        """Load and warm one that is new or was changed; False if there is nothing new, or it cannot be."""
        made = version(self._folder, model)
        if made is None or self._failed.get(model) == made:
            return False
        if self._loaded.get(model) == made:
            return model not in self._served  # it was on its way out
        if model not in self._loaded and len(self._tails.models) >= MOST_MODELS:
            self._tell(f"{model} waits: {MOST_MODELS} models are loaded, remove one or start another worker")
            return False
        try:
            loaded = self._load(model)
            self._tails.prepare(loaded)
            self._tails.add(loaded)
        except Exception as error:  # noqa: BLE001 - a person's module raises anything; the others are served on
            self._failed[model] = made
            known = isinstance(error, ConfigurationError)
            self._tell(str(error) if known else f"{model} does not run here: {type(error).__name__}: {error}")
            return False
        self._loaded[model] = made
        _log.info("model loaded", model=model, name=loaded.name, arms=len(loaded.arms))
        return True

    def _tell(self, reason: str) -> None:
        """Say it once, not with every look."""
        if reason not in self._told:
            self._told.add(reason)
            _log.warning("model not loaded", reason=reason)
