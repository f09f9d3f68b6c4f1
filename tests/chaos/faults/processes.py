"""Faults of the product's own processes."""

from chaos.faults.base import Fault


class _OfOne(Fault):
    """Of a process drawn by lot."""

    troubles = False

    def begin(self) -> None:
        self.victim = self.dice.choice(self.world.processes)
        self.facts["process"] = self.victim.name
        self.disturb()

    def disturb(self) -> None:
        """What happens to it."""


class Kill(_OfOne):
    """kill -9, and a start a moment later."""

    weight = 8
    lasts = (0.0, 0.1)

    def disturb(self) -> None:
        self.victim.kill()


class KillForLonger(_OfOne):
    """kill -9, and a start when everybody else has noticed."""

    weight = 3
    lasts = (0.0, 0.1)

    def disturb(self) -> None:
        self.victim.kill(down=self.dice.uniform(3, 15))


class KillAll(Fault):
    """The power fails for all processes of ours; the servers live."""

    weight = 2
    lasts = (0.0, 0.1)
    troubles = False

    def begin(self) -> None:
        for process in self.world.processes:
            process.kill(down=self.dice.uniform(0, 6))


class KillTwice(_OfOne):
    """Again while it starts."""

    weight = 3
    lasts = (1.0, 4.0)

    def disturb(self) -> None:
        self.victim.kill()

    def end(self) -> None:
        self.victim.kill()


class Terminate(_OfOne):
    """SIGTERM: it ends in order, and is started again."""

    weight = 4
    lasts = (0.0, 0.1)

    def disturb(self) -> None:
        self.victim.terminate()


class _Stopped(_OfOne):
    holds = frozenset({"pauses"})

    def disturb(self) -> None:
        self.victim.pause()

    def end(self) -> None:
        self.victim.resume()


class Stutter(_Stopped):
    """SIGSTOP for a moment."""

    weight = 4
    lasts = (0.5, 4.0)


class Zombie(_Stopped):
    """SIGSTOP for longer than the tail's lease and Kafka's session; then it goes on as if nothing had been."""

    weight = 6
    lasts = (7.0, 22.0)


FAULTS: tuple[type[Fault], ...] = (Kill, KillForLonger, KillAll, KillTwice, Terminate, Stutter, Zombie)
