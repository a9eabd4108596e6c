"""What the names of policies stand for, and the settings that won when they were tuned."""

PRESETS: dict[str, dict[str, object]] = {
    "linucb": {"learner": "fedlinucb_dw", "share": "device"},
    "linucb_w": {"learner": "fedlinucb_dw", "share": "device", "warm_start": 40},
    "fedlinucb": {"learner": "fedlinucb_dw", "share": "all"},
    "fedlinucb_w": {"learner": "fedlinucb_dw", "share": "all", "warm_start": 40},
    "fedlinucb_d": {"learner": "fedlinucb_dw", "share": "type"},
    "fedlinucb_dw": {"learner": "fedlinucb_dw", "share": "type", "warm_start": 40},
    # The same as `bandits.settings.PRACTICE`; a test compares them.
    "default": {
        "learner": "fedlinucb_dw",
        "share": "type",
        "warm_start": 40,
        "link": "measured",
        "slowness": "measured",
        "beta_prior": 0.1,
        "link_checks": True,
        "look_within": 2.0,
        "toll": 1.0,
        "probe_after_frames": 128,
        "safety": 0.1,
    },
    "discounted": {"learner": "discounted_linucb"},
    "windowed": {"learner": "windowed_linucb"},
    "detector": {"learner": "detector_linucb"},
    "device_only": {"learner": "fixed", "arm": "end/none"},
    "edge_only_uint8": {"learner": "fixed", "arm": "0/uint8"},
    "edge_only_jpeg": {"learner": "fixed", "arm": "0/jpeg"},
}
"""What a name stands for; an experiment may change any of its settings."""

TUNED: dict[str, dict[str, object]] = {
    "two_arm": {"edge_arm": "0/jpeg", "probe_every_frames": 30, "smoothing": 1.0, "opening_frames": 1},
    "neurosurgeon": {
        "drift_unit": 0.2,
        "drift_round_trip": 0.2,
        "link_noise": 0.5,
        "link_memory_frames": 20.0,
        "link_checks": True,
        "probe_after_frames": 256,
    },
    "ans": {"a_s": 0.1, "regularisation": 10.0},
    "linucb": {"beta_prior": 1.0, "beta_noise": 1.0},
    "linucb_w": {"beta_prior": 1.0, "beta_noise": 1.0},
    "fedlinucb": {"beta_prior": 3.0, "beta_noise": 0.3, "alpha": 1.0},
    "fedlinucb_w": {"beta_prior": 3.0, "beta_noise": 1.0, "alpha": 1.0},
    "fedlinucb_d": {"beta_prior": 1.0, "beta_noise": 1.0, "alpha": 1.0},
    "fedlinucb_dw": {"beta_prior": 1.0, "beta_noise": 1.0, "alpha": 1.0},
    "lin_ts": {"spread_s": 0.02, "regularisation": 0.3},
    "epsilon_greedy": {"epsilon": 0.01, "opening_frames": 10.0, "smoothing": 0.02},
    "async_linucb": {"beta_s": 0.2, "gamma": 6.0, "estimate": "frame"},
    "dis_linucb": {"beta_s": 0.1, "threshold": 300.0},
    "discounted": {"gamma": 0.995, "beta_prior": 1.0},
    "windowed": {"window_frames": 400, "beta_prior": 1.0},
    "detector": {"threshold": 16.0, "slack": 0.9, "beta_prior": 1.0},
}
"""Settings of policies at their best, by the same names: docs/results/tuning.md, which a test holds them to.

Unlike a preset's they yield to an experiment's [family], which says what was published.
"""
