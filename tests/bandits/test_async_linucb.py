"""Async-LinUCB against the paper's own formulas, written out with inverses."""

import numpy as np
import pytest

from bandits.async_linucb import AsyncLinUCB, AsyncServer
from bandits.policy import Cost
from bandits.statistics import Statistics

D, K, LAMBDA, BETA, GAMMA = 4, 6, 0.5, 0.4, 2.0


def client(**settings: object) -> AsyncLinUCB:
    return AsyncLinUCB(D, **{"regularisation": LAMBDA, "beta_s": BETA, "gamma": GAMMA, **settings})  # type: ignore[arg-type]


def rows(*scales: float) -> Statistics:
    X = np.diag(scales)
    return Statistics.zeros(len(scales)).add_rows(X, np.ones(len(scales)))


@pytest.mark.parametrize("estimate", ["exchange", "frame"])
def test_it_plays_as_the_algorithm_is_printed(estimate: str) -> None:
    """Two clients, one server; the oracle keeps every matrix whole."""
    rng = np.random.default_rng(3)
    theta = rng.uniform(-1, 1, D)
    clients = [client(estimate=estimate) for _ in range(2)]
    server = AsyncServer(2, D, regularisation=LAMBDA, gamma=GAMMA)
    ridge = LAMBDA * np.eye(D)
    V, b = [ridge.copy(), ridge.copy()], [np.zeros(D), np.zeros(D)]
    seen = [(ridge.copy(), np.zeros(D)) for _ in range(2)]
    dV, db = [np.zeros((D, D)) for _ in range(2)], [np.zeros(D) for _ in range(2)]
    untold, untold_b = [np.zeros((D, D)) for _ in range(2)], [np.zeros(D) for _ in range(2)]
    whole = ridge.copy()
    downloads = uploads = 0
    for frame in range(300):
        i = int(rng.random() < 0.3)
        X = rng.uniform(-1, 1, (K, D))
        A, a = seen[i]
        inverse = np.linalg.solve(A, np.eye(D))
        score = X @ inverse @ a - BETA * np.sqrt(np.einsum("kd,de,ke->k", X, inverse, X))
        arm = clients[i].select(X)
        assert arm == int(score.argmin()), frame
        y = float(X[arm] @ theta + 0.1 * rng.standard_normal())
        clients[i].update(arm, Cost(y))
        x = X[arm]
        V[i] += np.outer(x, x)
        b[i] += y * x
        dV[i] += np.outer(x, x)
        db[i] += y * x
        due = np.linalg.slogdet(V[i])[1] - np.linalg.slogdet(V[i] - dV[i])[1] > np.log(GAMMA)
        assert clients[i].upload_due() == due
        if due:
            uploads += 1
            for receiver, told in server.merge(i, clients[i].take_upload()).items():
                clients[receiver].download(told)
            whole += dV[i]
            untold[1 - i] += dV[i]
            untold_b[1 - i] += db[i]
            dV[i], db[i] = np.zeros((D, D)), np.zeros(D)
            for j in range(2):
                grown = np.linalg.slogdet(whole)[1] - np.linalg.slogdet(whole - untold[j])[1]
                if grown > np.log(GAMMA):
                    downloads += 1
                    V[j] += untold[j]
                    b[j] += untold_b[j]
                    untold[j], untold_b[j] = np.zeros((D, D)), np.zeros(D)
                    seen[j] = (V[j].copy(), b[j].copy())
            seen[i] = (V[i].copy(), b[i].copy())
        if estimate == "frame":
            seen[i] = (V[i].copy(), b[i].copy())
        assert np.allclose(server.statistics.gram, whole)
    assert uploads > 5
    assert downloads > 2


def test_a_censored_cost_counts_as_no_less_than_what_was_believed() -> None:
    policy = client()
    X = np.eye(D)[:1]
    for _ in range(20):
        policy.select(X)
        policy.update(0, Cost(2.0))
    policy.take_upload()
    policy.select(X)
    policy.update(0, Cost(0.1, censored=True))
    assert policy.take_upload().moment[0] > 1.5
    policy.select(X)
    policy.update(0, Cost(5.0, censored=True))
    assert policy.take_upload().moment[0] == 5.0


def test_nothing_is_due_before_the_first_row() -> None:
    assert not client().upload_due()


def test_what_it_knows_goes_through_a_dump() -> None:
    one, other = client(), client()
    X = np.eye(D)
    for arm in (0, 1, 1):
        one.select(X)
        one.update(arm, Cost(1.0 + arm))
    one.take_upload()
    one.select(X)
    one.update(2, Cost(0.5))
    other.load(one.dump())
    assert other.dump()["local"]["count"] == 1
    assert [one.select(X), one.upload_due()] == [other.select(X), other.upload_due()]


def test_bad_settings_and_statistics_are_refused() -> None:
    for settings in ({"beta_s": -1.0}, {"gamma": 1.0}, {"gamma": np.inf}, {"estimate": "never"}):
        with pytest.raises(ValueError, match=r"beta_s|gamma|estimate"):
            client(**settings)
    with pytest.raises(ValueError, match="needs one client"):
        AsyncServer(0, D)
    server = AsyncServer(2, D)
    bad = Statistics(np.diag([1.0, 1.0, 1.0, -1.0]), np.zeros(D), 1, 1.0)
    for index, upload in ((2, rows(1, 1, 1, 1)), (-1, rows(1, 1, 1, 1)), (0, bad)):
        with pytest.raises(ValueError, match=r"client|negative"):
            server.merge(index, upload)
    assert np.array_equal(server.statistics.gram, 0.1 * np.eye(D))
    policy = client()
    for upload in (rows(1, 1), bad):
        with pytest.raises(ValueError, match=r"dimension|negative"):
            policy.download(upload)
    assert policy.dump()["shared"]["count"] == 0
