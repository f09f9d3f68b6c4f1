"""What a fault is: something that begins, lasts a while and ends, and meanwhile has parts of the world to itself."""

from random import Random
from typing import ClassVar

from chaos.world import World


class Fault:
    """One disturbance. A subclass says how often it comes, how long it lasts and what it does."""

    weight: ClassVar[int] = 1
    lasts: ClassVar[tuple[float, float]] = (0.5, 5.0)
    """Seconds, at least and at most."""
    holds: ClassVar[frozenset[str]] = frozenset()
    """The parts that no other fault may touch meanwhile."""
    destroys: ClassVar[str] = ""
    """What is lost for good by it: a kind of knowledge that another may not be destroyed beside, in one run."""
    troubles: ClassVar[bool] = True
    """Whether a process may fail to start because of it."""

    def __init__(self, world: World, dice: Random) -> None:
        self.world = world
        self.dice = dice
        self.seconds = dice.uniform(*self.lasts)
        self.facts: dict[str, object] = {}
        """For the timeline."""

    @classmethod
    def name(cls) -> str:
        return "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in cls.__name__).strip()

    @classmethod
    def fits(cls, world: World) -> bool:
        """Whether this world has what it disturbs."""
        return world is not None

    def begin(self) -> None:
        """Disturb."""

    def end(self) -> None:
        """Put it right again."""
