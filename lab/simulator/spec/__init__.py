"""What an experiment file may say: one frozen struct a section, and nothing else is accepted.

This package must hold no behaviour.
"""

from lab.simulator.spec.experiment import FIGURES, TIMED_FIGURES, Engine, Experiment, Learner
from lab.simulator.spec.family import Family, Sharing
from lab.simulator.spec.links import Constant, Link, Lte, Trace, TwoState
from lab.simulator.spec.presets import PRESETS, TUNED
from lab.simulator.spec.rivals import (
    Ans,
    Async,
    BestFixed,
    Central,
    Detector,
    Discounted,
    DisLinUCB,
    EpsilonGreedy,
    Fixed,
    Forgetting,
    LinTs,
    Neurosurgeon,
    Oracle,
    Random,
    TwoArm,
    Windowed,
)
from lab.simulator.spec.sections import Count, Name, NotNegative, Positive, Section, Share
from lab.simulator.spec.testbed import Event, Testbed
from lab.simulator.spec.worlds import (
    Change,
    Channel,
    DeviceType,
    EdgeBatch,
    Lies,
    Noise,
    Site,
    Synthetic,
    World,
)

__all__ = [
    "FIGURES",
    "PRESETS",
    "TIMED_FIGURES",
    "TUNED",
    "Ans",
    "Async",
    "BestFixed",
    "Central",
    "Change",
    "Channel",
    "Constant",
    "Count",
    "Detector",
    "DeviceType",
    "DisLinUCB",
    "Discounted",
    "EdgeBatch",
    "Engine",
    "EpsilonGreedy",
    "Event",
    "Experiment",
    "Family",
    "Fixed",
    "Forgetting",
    "Learner",
    "Lies",
    "LinTs",
    "Link",
    "Lte",
    "Name",
    "Neurosurgeon",
    "Noise",
    "NotNegative",
    "Oracle",
    "Positive",
    "Random",
    "Section",
    "Share",
    "Sharing",
    "Site",
    "Synthetic",
    "Testbed",
    "Trace",
    "TwoArm",
    "TwoState",
    "Windowed",
    "World",
]
