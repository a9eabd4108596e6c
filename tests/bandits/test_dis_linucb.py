"""DisLinUCB against the paper's own formulas, written out with inverses."""

import numpy as np
import pytest

from bandits.dis_linucb import DisLinUCB, DisServer
from bandits.linucb import LinUCB
from bandits.policy import Cost
from bandits.statistics import Statistics

D, K, M, LAMBDA, BETA = 4, 6, 3, 0.5, 0.4


def agent(threshold: float = 3.0, **settings: object) -> DisLinUCB:
    return DisLinUCB(
        D, **{"regularisation": LAMBDA, "beta_s": BETA, "threshold": threshold, **settings}  # type: ignore[arg-type]
    )  # fmt: skip


def exchange(agents: list[DisLinUCB], server: DisServer) -> None:
    shared = server.round([each.upload() for each in agents])
    for each in agents:
        each.adopt(shared)


def test_it_plays_as_the_algorithm_is_printed() -> None:
    """Three agents, one of them often; the oracle keeps every matrix whole."""
    rng = np.random.default_rng(3)
    theta = rng.uniform(-1, 1, D)
    agents, server = [agent() for _ in range(M)], DisServer(D, regularisation=LAMBDA)
    W_syn, U_syn = np.zeros((D, D)), np.zeros(D)
    W, U = [np.zeros((D, D)) for _ in range(M)], [np.zeros(D) for _ in range(M)]
    since, rounds = [0] * M, 0
    for frame in range(400):
        i = int(rng.choice(M, p=[0.6, 0.3, 0.1]))
        X = rng.uniform(-1, 1, (K, D))
        V = LAMBDA * np.eye(D) + W_syn + W[i]
        inverse = np.linalg.solve(V, np.eye(D))
        score = X @ inverse @ (U_syn + U[i]) - BETA * np.sqrt(np.einsum("kd,de,ke->k", X, inverse, X))
        arm = agents[i].select(X)
        assert arm == int(score.argmin()), frame
        y = float(X[arm] @ theta + 0.1 * rng.standard_normal())
        agents[i].update(arm, Cost(y))
        W[i] += np.outer(X[arm], X[arm])
        U[i] += y * X[arm]
        since[i] += 1
        last = np.linalg.slogdet(LAMBDA * np.eye(D) + W_syn)[1]
        due = since[i] * (np.linalg.slogdet(LAMBDA * np.eye(D) + W_syn + W[i])[1] - last) > 3.0
        assert agents[i].round_due() == due
        if due:
            rounds += 1
            exchange(agents, server)
            W_syn, U_syn = W_syn + sum(W), U_syn + sum(U)
            W, U = [np.zeros((D, D)) for _ in range(M)], [np.zeros(D) for _ in range(M)]
            since = [0] * M
            assert np.allclose(server.statistics.gram, LAMBDA * np.eye(D) + W_syn)
            assert np.allclose(server.statistics.moment, U_syn)
    assert 5 < rounds < 100


def test_with_no_threshold_all_know_what_one_central_learner_knows() -> None:
    rng = np.random.default_rng(4)
    agents, server = [agent(0.0) for _ in range(M)], DisServer(D, regularisation=LAMBDA)
    central = LinUCB(D, regularisation=LAMBDA, beta_s=BETA)
    for _ in range(200):
        one = agents[int(rng.integers(M))]
        X = rng.uniform(-1, 1, (K, D))
        arm = central.select(X)
        assert one.select(X) == arm
        cost = Cost(float(rng.uniform()))
        one.update(arm, cost)
        central.update(arm, cost)
        assert one.round_due()
        exchange(agents, server)
    assert np.array_equal(server.statistics.gram, central.statistics.gram)
    assert np.array_equal(server.statistics.moment, central.statistics.moment)


def test_nothing_is_due_before_the_first_row_nor_below_a_huge_threshold() -> None:
    assert not agent(0.0).round_due()
    lonely = agent(1e9)
    X = np.eye(D)
    for _ in range(100):
        lonely.update(lonely.select(X), Cost(1.0))
    assert not lonely.round_due()
    assert lonely.upload().count == 100


def test_a_censored_cost_counts_as_no_less_than_what_was_believed() -> None:
    policy = agent()
    X = np.eye(D)[:1]
    for _ in range(20):
        policy.select(X)
        policy.update(0, Cost(2.0))
    before = policy.upload().moment[0]
    policy.update(0, Cost(0.1, censored=True))
    assert policy.upload().moment[0] - before > 1.5
    before = policy.upload().moment[0]
    policy.update(0, Cost(5.0, censored=True))
    assert policy.upload().moment[0] - before == 5.0


def test_what_it_knows_goes_through_a_dump() -> None:
    one, other = agent(), agent()
    X = np.eye(D)
    one.select(X)
    one.update(1, Cost(2.0))
    exchange([one], DisServer(D, regularisation=LAMBDA))
    one.select(X)
    one.update(2, Cost(0.5))
    other.load(one.dump())
    assert str(other.dump()) == str(one.dump())
    assert [one.select(X), one.round_due()] == [other.select(X), other.round_due()]


def test_bad_settings_and_statistics_are_refused_without_harm() -> None:
    for settings in ({"beta_s": -1.0}, {"threshold": -1.0}, {"threshold": np.inf}):
        with pytest.raises(ValueError, match=r"beta_s|threshold"):
            agent(**settings)
    good = Statistics.zeros(D).add_rows(np.eye(D), np.ones(D))
    bad = Statistics(np.diag([1.0, 1.0, 1.0, -1.0]), np.zeros(D), 1, 1.0)
    server, policy = DisServer(D, regularisation=LAMBDA), agent()
    for upload in (Statistics.zeros(2), bad):
        with pytest.raises(ValueError, match=r"dimension|negative"):
            server.round([good, upload])
        with pytest.raises(ValueError, match=r"dimension|negative"):
            policy.adopt(upload)
    assert np.array_equal(server.statistics.gram, LAMBDA * np.eye(D))
    assert policy.dump()["shared"]["count"] == 0
