"""Now and then any arm, with a likelihood that is known: so a recording can say what others would cost.

A policy that always plays what it holds for best leaves no trace of what else there was. With a small share
of frames drawn from all arms alike, each chosen arm has a likelihood, which goes into the feedback.
"""

from collections.abc import Callable


class Exploration:
    """Draws arms.

    Args:
        share: of the frames whose arm is drawn, 0 to 1; 0 draws nothing.
        draw: uniform numbers in [0, 1).
    """

    def __init__(self, share: float, draw: Callable[[], float]) -> None:
        self._share = share
        self._draw = draw

    def choose(self, chosen: int, arms: int) -> tuple[int, float]:
        """Return the arm to play, and how likely that was; 0 where nobody draws.

        Args:
            chosen: what the policy would play.
            arms: how many there are.
        """
        if self._share <= 0.0:
            return chosen, 0.0
        arm = min(int(self._draw() * arms), arms - 1) if self._draw() < self._share else chosen
        return arm, self._share / arms + (1.0 - self._share) * (arm == chosen)
