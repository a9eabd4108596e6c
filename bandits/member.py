"""A device's half of the federation: what it has learnt, what the group knows, what is on its way.

Every row is in exactly one place, and the view V is the sum of those places:

    local      rows since the last upload
    in flight  at most one numbered upload, repeated until it is acknowledged or refused (stop-and-wait)
    shared     uploads that the group has merged into a version newer than the one adopted here
    kept       rows that the group will never hold (refused, or merged by a group that is gone)
    adopted    the group's statistics, including lambda I

A member that the group has parked (it reports something else than the rest) is *alone*: its view is lambda I
and every row that it ever had, and no broadcast is adopted until an acknowledgement says that it is back.

An acknowledgement names the first version that contains the upload, so it stays in the view until such a
version is adopted and leaves it at that moment. While an upload is in flight a newer broadcast of the
same origin may or may not contain it: it is held back until the answer says which. A broadcast of another
origin means the aggregator's state was lost; its versions compare with nothing, so it is adopted at once.

What it does for you: nothing is counted twice or lost under loss, duplication, reordering and restarts.
What it will not do: no clock (repeat `in_flight` when you think it is lost), no wire form, no identity.
What its runtime must do: write `dump()` durably after `take_upload` and before the upload is published,
and give each start a higher `boot`.
"""

from typing import Literal, get_args

import numpy as np

from bandits.arrays import Dump, Matrix, Vector
from bandits.statistics import Statistics
from bandits.uploads import Broadcast, Kind, Shared, Upload

View = Literal["strict", "fresh"]
Start = Literal["ridge", "zero"]

MAX_ROWS = 100_000
"""Weight of one upload, in rows; what a long absence of the aggregator has gathered is scaled down to it."""

MAX_SHARED = 32
"""Acknowledged uploads that may wait for a broadcast; no more are sent then, and `local` grows instead."""


class Member:
    """One device in one group.

    Attributes:
        epoch: grows whenever the view changes otherwise than by a row added in the fresh view; a policy
            that keeps a factor rebuilds it then.
        in_flight: the upload that waits for its answer, to be repeated as it is.

    Args:
        dimension: d.
        regularisation: lambda, used until a group (whose statistics contain it) is adopted.
        alpha: upload when ln det grew by more than ln(1 + alpha) through local rows.
        view: "fresh" sees every own row at once; "strict" only what the group has sent back, and own
            early-exit rows (FedLinUCB).
        start: "ridge" takes lambda I as the trigger's first Sigma, "zero" takes 0 (then the first upload is
            due once local rows span all columns).
        boot: starts of this install so far.

    Raises:
        ValueError: a setting out of range.
    """

    def __init__(
        self,
        dimension: int,
        *,
        regularisation: float = 0.1,
        alpha: float = 1.0,
        view: View = "fresh",
        start: Start = "ridge",
        boot: int = 0,
    ) -> None:
        if not 0.0 <= alpha < np.inf:
            raise ValueError(f"alpha is {alpha}, expected a finite number, not negative")
        if view not in get_args(View) or start not in get_args(Start):
            raise ValueError(f"view {view!r} or start {start!r} is unknown")
        self.dimension = dimension
        self.view_kind: View = view
        self.epoch = 0
        self.in_flight: Upload | None = None
        self._ridge = Statistics.ridge(dimension, regularisation)
        self._growth = float(np.log1p(alpha))
        self._start: Start = start
        self._boot = boot
        self._seq = 0
        self._joined = False
        self._offline: Statistics | None = None
        self._adopted: Broadcast | None = None
        self._held: Broadcast | None = None
        self._shared: list[Shared] = []
        self._kept = Statistics.zeros(dimension)
        self._local = Statistics.zeros(dimension)
        self._answered_rows = Statistics.zeros(dimension)  # all uploads that were answered for good
        self._alone = False
        self._back: tuple[str, int] | None = None  # while alone: where the group has this member's rows again
        self._known_log_determinant: float | None = None

    @property
    def origin(self) -> str | None:
        """Origin of the adopted group, None before the first."""
        return None if self._adopted is None else self._adopted.origin

    @property
    def version(self) -> int:
        """Version of the adopted group, 0 before the first."""
        return 0 if self._adopted is None else self._adopted.version

    @property
    def joined(self) -> bool:
        """Whether `join` has happened in the life of this install."""
        return self._joined

    @property
    def alone(self) -> bool:
        """Whether the group has parked this member, so that it learns by itself."""
        return self._alone

    @property
    def local(self) -> Statistics:
        """Rows not yet in any upload."""
        return self._local

    def join(self, offline: Statistics) -> None:
        """Take early-exit experience, once in the life of an install; it goes up as the first upload.

        Raises:
            ValueError: joined before, another dimension or invalid statistics.
        """
        if self._joined:
            raise ValueError("this install has joined before; its early-exit rows count only once")
        self._require_dimension(offline)
        offline.require_valid()
        self._joined = True
        if offline.count:
            self._offline = offline
            self._changed()

    def observe(self, X: Matrix, y: Vector, weight: float = 1.0) -> None:
        """Add rows X (m, d) with costs y (m,), seconds.

        Raises:
            ValueError: another shape, NaN, infinity or an overflow; nothing changes.
        """
        self._local = self._local.add_rows(X, y, weight)

    def view(self) -> Statistics:
        """Return V and b, as the policy sees them."""
        if self._alone:
            return self._view_alone()
        total = self._ridge if self._adopted is None else self._adopted.statistics
        if self._offline is not None:
            total += self._offline
        strict = self.view_kind == "strict"
        for upload in self._own_uploads():
            if upload.kind == "offline" or not strict:
                total += upload.statistics
        return total if strict else total + self._kept + self._local

    def _view_alone(self) -> Statistics:
        """Return lambda I and every row of this member; the strict view waits for answers as ever."""
        total = self._ridge + self._answered_rows
        if self._offline is not None:
            total += self._offline
        strict = self.view_kind == "strict"
        if self.in_flight is not None and (self.in_flight.kind == "offline" or not strict):
            total += self.in_flight.statistics
        return total if strict else total + self._local

    def upload_due(self) -> bool:
        """Whether `take_upload` should be called now.

        Early-exit rows are due at once; local rows when they add more than ln(1 + alpha) to ln det of
        what the group is known to hold.
        """
        if self.in_flight is not None or len(self._shared) >= MAX_SHARED:
            return False
        if self._offline is not None:
            return True
        if self._local.count == 0:
            return False
        known = self._known_gram()
        if self._known_log_determinant is None:
            self._known_log_determinant = _log_determinant(known)
        # -inf - -inf is NaN and compares false: a singular sum is never due.
        with np.errstate(invalid="ignore"):
            return bool(
                _log_determinant(known + self._local.gram) - self._known_log_determinant > self._growth
            )

    def take_upload(self) -> Upload:
        """Number what is due and put it in flight.

        Raises:
            ValueError: one is in flight already, or there is nothing to send.
        """
        if self.in_flight is not None:
            raise ValueError("an upload is in flight; repeat it until it is answered")
        kind: Kind = "online" if self._offline is None else "offline"
        statistics = (self._local if self._offline is None else self._offline).at_most(MAX_ROWS)
        if statistics.count == 0:
            raise ValueError("there is nothing to upload")
        if self._offline is None:
            self._local = Statistics.zeros(self.dimension)
        self._offline = None
        self._seq += 1
        self.in_flight = Upload(self._boot, self._seq, kind, statistics)
        self._known_log_determinant = None
        return self.in_flight

    def acknowledged(self, boot: int, seq: int, origin: str, version: int, *, parked: bool = False) -> bool:
        """The upload is in the group of `origin` from `version` on, or this member is parked.

        Returns:
            Whether this answered the upload in flight; a late repetition changes nothing.
        """
        upload = self._answered(boot, seq)
        if upload is None:
            return False
        self._answered_rows += upload.statistics
        if parked:
            self._leave()
            return True
        if self._alone and (self._held is None or self._held.origin != origin):
            self._held, self._back = None, (origin, version)
            self._changed()
            return True
        self._shared.append(Shared(origin, version, upload))
        self._adopt_held()
        self._drop_contained()
        return True

    def _leave(self) -> None:
        """Be alone: what the group has of this member, and what it says, counts no more."""
        self._alone, self._back = True, None
        self._adopted = self._held = None
        self._shared = []
        self._changed()

    def refused(self, boot: int, seq: int, *, again: bool = False) -> bool:
        """The upload will never be merged under this number.

        Args:
            boot: of the upload.
            seq: of the upload.
            again: put its rows back, to go up under another number; else they stay in this device's view
                only, where they are true all the same.

        Returns:
            Whether this answered the upload in flight.
        """
        upload = self._answered(boot, seq)
        if upload is None:
            return False
        if not again:
            self._answered_rows += upload.statistics
            self._kept += upload.statistics
        elif upload.kind == "offline":
            self._offline = upload.statistics
        else:
            self._local += upload.statistics
        self._adopt_held()
        self._drop_contained()
        self._changed()
        return True

    def adopt(self, origin: str, version: int, statistics: Statistics) -> bool:
        """Take a broadcast, or hold it back while an upload is in flight.

        Returns:
            Whether the adopted group changed now.

        Raises:
            ValueError: another dimension, invalid, or gram not positive definite; nothing changes.
        """
        self._require_dimension(statistics)
        statistics.require_valid()
        try:
            # As the policy will do it; what is valid up to rounding only has no factor.
            np.linalg.cholesky(statistics.gram)
        except np.linalg.LinAlgError:
            raise ValueError("the group's gram is not positive definite") from None
        broadcast = Broadcast(origin, version, statistics)
        if self._alone and (self._back is None or self._back[0] != origin or version < self._back[1]):
            return False
        current = self._adopted
        if current is not None and current.origin == origin and version <= current.version:
            return False
        another_origin = current is not None and current.origin != origin
        if self.in_flight is not None and not another_origin:
            held = self._held
            if held is None or held.origin != origin or held.version < version:
                self._held = broadcast
            return False
        self._take(broadcast)
        self._drop_contained()
        return True

    def _take(self, broadcast: Broadcast) -> None:
        """Make a broadcast the adopted group."""
        if self._adopted is not None and self._adopted.origin != broadcast.origin:
            self._held = None
            # What the lost group had merged is in no version of the new one.
            for shared in [s for s in self._shared if s.origin != broadcast.origin]:
                self._shared.remove(shared)
                self._kept += shared.upload.statistics
        self._adopted = broadcast
        self._alone, self._back = False, None
        self._changed()

    def _adopt_held(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            self._take(held)

    def _drop_contained(self) -> None:
        """Forget uploads that the adopted version contains."""
        waiting = [s for s in self._shared if s.origin != self.origin or s.version > self.version]
        if len(waiting) != len(self._shared):
            self._shared = waiting
            self._changed()

    def _answered(self, boot: int, seq: int) -> Upload | None:
        upload = self.in_flight
        if upload is None or (upload.boot, upload.seq) != (boot, seq):
            return None
        self.in_flight = None
        return upload

    def _own_uploads(self) -> list[Upload]:
        uploads = [shared.upload for shared in self._shared]
        return uploads if self.in_flight is None else [*uploads, self.in_flight]

    def _known_gram(self) -> Matrix:
        """Sigma_m of the trigger: the adopted group and own uploads that are on their way into it."""
        zero = self._start == "zero" and self._adopted is None
        known = np.zeros_like(self._ridge.gram) if zero else self._ridge.gram
        if self._alone:
            known = self._ridge.gram + self._answered_rows.gram
        elif self._adopted is not None:
            known = self._adopted.statistics.gram
        for upload in self._own_uploads():
            known = known + upload.statistics.gram
        return known

    def _changed(self) -> None:
        self.epoch += 1
        self._known_log_determinant = None

    def _require_dimension(self, statistics: Statistics) -> None:
        if statistics.dimension != self.dimension:
            raise ValueError(
                f"statistics of dimension {statistics.dimension}, this member has {self.dimension}"
            )

    def dump(self) -> Dump:
        """Return the whole state as primitives and arrays."""
        return {
            "boot": self._boot,
            "seq": self._seq,
            "joined": self._joined,
            "offline": None if self._offline is None else self._offline.dump(),
            "in_flight": None if self.in_flight is None else self.in_flight.dump(),
            "adopted": None if self._adopted is None else self._adopted.dump(),
            "held": None if self._held is None else self._held.dump(),
            "shared": [s.dump() for s in self._shared],
            "kept": self._kept.dump(),
            "local": self._local.dump(),
            "answered": self._answered_rows.dump(),
            "alone": self._alone,
            "back": None if self._back is None else list(self._back),
        }

    def load(self, state: Dump) -> None:
        """Take over what `dump` of an earlier start returned; this member's `boot` stays its own.

        Raises:
            ValueError: invalid statistics, or a boot older than the state's.
        """
        boot = int(state["boot"])
        if boot > self._boot:
            raise ValueError(f"boot {self._boot} would repeat numbers of boot {boot}")
        local, kept = Statistics.load(state["local"]), Statistics.load(state["kept"])
        self._require_dimension(local)
        offline, in_flight = state["offline"], state["in_flight"]
        shared = [Shared.load(s) for s in state["shared"]]
        adopted, held = Broadcast.load(state["adopted"]), Broadcast.load(state["held"])
        loaded_offline = None if offline is None else Statistics.load(offline)
        loaded_in_flight = None if in_flight is None else Upload.load(in_flight)
        answered, back = state.get("answered"), state.get("back")  # not in states of 0.1
        rows = Statistics.zeros(self.dimension) if answered is None else Statistics.load(answered)
        # Nothing below can fail: a bad state leaves this member as it was.
        self._seq = int(state["seq"]) if boot == self._boot else 0
        self._joined = bool(state["joined"])
        self._offline, self.in_flight = loaded_offline, loaded_in_flight
        self._adopted, self._held, self._shared = adopted, held, shared
        self._kept, self._local = kept, local
        self._answered_rows, self._alone = rows, bool(state.get("alone", False))
        self._back = None if back is None else (str(back[0]), int(back[1]))
        self._changed()


def _log_determinant(gram: Matrix) -> float:
    """Ln det, -inf where the matrix is not positive definite."""
    sign, log_determinant = np.linalg.slogdet(gram)
    return float(log_determinant) if sign > 0 else -np.inf
