"""Async-LinUCB, a rival: uploads and downloads are triggered each by itself.

Li & Wang, "Asynchronous Upper Confidence Bound Algorithms for Federated Linear Bandits", AISTATS 2022,
algorithm 1. With V_i what client i knows, and dV_i what it has not uploaded:

    upload of i      when ln det V_i - ln det (V_i - dV_i) > ln gamma
    download to j    when ln det V   - ln det (V - dV_-j)  > ln gamma,   dV_-j = what j has not downloaded

so that, unlike FedLinUCB, a client may be told something without having asked, and asked for rows without
being told anything. Here cost is minimised: a lower confidence bound.
What it will not do: carry anything; `AsyncServer.merge` says who is to be told.
"""

import math
from typing import Literal, get_args

import numpy as np

from bandits.arrays import Dump, Matrix
from bandits.factor import Factor
from bandits.optimism import Optimist
from bandits.policy import Cost
from bandits.statistics import Statistics

Estimate = Literal["exchange", "frame"]


class AsyncLinUCB:
    """One client.

    Args:
        dimension: d.
        regularisation: lambda.
        beta_s: exploration, in units of the cost.
        gamma: upload when det has grown by more than this factor, above 1.
        estimate: whether theta follows each frame, or only each exchange, which is what the published
            regret shows (docs/results/reference.md).
        name: how tables call it.

    Raises:
        ValueError: a setting out of range.
    """

    def __init__(
        self,
        dimension: int,
        *,
        regularisation: float = 0.1,
        beta_s: float = 0.3,
        gamma: float = 6.0,
        estimate: Estimate = "exchange",
        name: str = "async_linucb",
    ) -> None:
        if estimate not in get_args(Estimate):
            raise ValueError(f"estimate {estimate!r} is none of {get_args(Estimate)}")
        self.name = name
        self._optimist = Optimist(dimension, beta_s)
        self._growth = _growth(gamma)
        self._estimate = estimate
        self._shared = Statistics.ridge(dimension, regularisation)
        self._local = Statistics.zeros(dimension)
        self._seen = self._shared  # what the estimate is made of
        self._factor = Factor(self._seen)
        self._shared_log_determinant = self._factor.log_determinant

    def select(self, contexts: Matrix) -> int:
        """As `Optimist.select`."""
        return self._optimist.select(contexts, self._factor)

    def update(self, arm: int, cost: Cost) -> None:
        """Add one row; a censored cost counts as the bound, or the prediction where that is higher.

        Raises:
            ValueError: no such arm in the latest contexts.
        """
        X, y = self._optimist.row(arm, cost, self._factor)
        self._local = self._local.add_rows(X, y)
        if self._estimate == "frame":
            self._seen = self._seen.add_rows(X, y)
            self._factor.append(X, y)

    def upload_due(self) -> bool:
        """Whether local rows have grown the determinant by more than gamma."""
        if self._local.count == 0:
            return False
        known = _log_determinant(self._shared.gram + self._local.gram)
        return known - self._shared_log_determinant > self._growth

    def take_upload(self) -> Statistics:
        """Return the rows since the last upload, which are this client's to remember from now on."""
        upload, self._local = self._local, Statistics.zeros(self._local.dimension)
        self._learn(upload)
        return upload

    def download(self, others: Statistics) -> None:
        """Add what others have uploaded.

        Raises:
            ValueError: another dimension or no valid statistics; nothing changes.
        """
        if others.dimension != self._shared.dimension:
            raise ValueError(f"statistics of dimension {others.dimension}, expected {self._shared.dimension}")
        others.require_valid()
        self._learn(others)

    def _learn(self, rows: Statistics) -> None:
        self._shared += rows
        self._seen = self._shared + self._local
        self._factor = Factor(self._seen)
        self._shared_log_determinant = _log_determinant(self._shared.gram)

    def dump(self) -> Dump:
        """Return the statistics."""
        return {"shared": self._shared.dump(), "local": self._local.dump(), "seen": self._seen.dump()}

    def load(self, state: Dump) -> None:
        """Take over what `dump` returned.

        Raises:
            ValueError: invalid statistics.
        """
        shared, local, seen = (Statistics.load(state[name]) for name in ("shared", "local", "seen"))
        self._factor = Factor(seen)
        self._shared, self._local, self._seen = shared, local, seen
        self._shared_log_determinant = _log_determinant(shared.gram)


class AsyncServer:
    """The one sum, and for each client what it has not been told.

    Args:
        clients: how many.
        dimension: d.
        regularisation: lambda.
        gamma: tell a client when det has grown by more than this factor since it was told last.

    Raises:
        ValueError: a setting out of range.
    """

    def __init__(
        self, clients: int, dimension: int, *, regularisation: float = 0.1, gamma: float = 6.0
    ) -> None:
        if clients < 1:
            raise ValueError("a server needs one client")
        self._growth = _growth(gamma)
        self.statistics = Statistics.ridge(dimension, regularisation)
        self._untold = [Statistics.zeros(dimension) for _ in range(clients)]

    def merge(self, client: int, upload: Statistics) -> dict[int, Statistics]:
        """Add an upload; return what is to be sent, by client.

        Raises:
            ValueError: no such client, or statistics that no rows can have; nothing changes.
        """
        if not 0 <= client < len(self._untold):
            raise ValueError(f"client {client} is not among {len(self._untold)}")
        upload.require_valid()
        self.statistics += upload
        downloads: dict[int, Statistics] = {}
        whole = _log_determinant(self.statistics.gram)
        for other, untold in enumerate(self._untold):
            if other == client:
                # It was told nothing new, but what it did not know may have come to weigh more or less.
                grown = untold
            else:
                grown = self._untold[other] = untold + upload
            if grown.count and whole - _log_determinant(self.statistics.gram - grown.gram) > self._growth:
                downloads[other] = grown
                self._untold[other] = Statistics.zeros(upload.dimension)
        return downloads


def _growth(gamma: float) -> float:
    if not 1.0 < gamma < np.inf:
        raise ValueError(f"gamma is {gamma}, expected a finite number above 1")
    return math.log(gamma)


def _log_determinant(gram: Matrix) -> float:
    return float(np.linalg.slogdet(gram)[1])
