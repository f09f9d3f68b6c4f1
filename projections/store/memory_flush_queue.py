"""What one folder has to flush of one bucket, for the store in memory. Times are microseconds."""

from projections.profile_key import ProfileKey
from projections.store.protocol import Claim, Settlement


class FlushQueue:
    """Due profiles, claims, and the hashes of the files. `_force` holds the time from which a claim is forced."""

    def __init__(self) -> None:
        self.settled: dict[ProfileKey, str] = {}
        self._due: dict[ProfileKey, int] = {}
        self._leases: dict[ProfileKey, tuple[int, str]] = {}
        self._force: dict[ProfileKey, int] = {}
        self._claims: dict[str, tuple[int, list[Claim]]] = {}

    def next(self) -> int | None:
        """When something is due or a claim ends."""
        if not (self._due or self._leases):
            return None
        return min([*self._due.values(), *(end for end, _ in self._leases.values())])

    def count(self) -> int:
        """How many profiles wait to be claimed."""
        return len(self._due)

    def sooner(self, key: ProfileKey, due: int) -> None:
        """A profile is due at that time, unless it already is earlier."""
        self._due[key] = min(due, self._due.get(key, due))

    def claim(  # noqa: PLR0913 - those of the store's `claim`, and its clock
        self, now: int, limit: int, end: int, token: str, *, far: int, recovery: bool
    ) -> list[Claim]:
        """Take claims that ran out, then due profiles; with a token that was used before, the same again.

        A time above `far` is from before the clock was set back, and is over.
        """

        def elapsed(at: int) -> bool:
            return at <= now or at > far

        self._claims = {known: claim for known, claim in self._claims.items() if claim[0] > now}
        if token in self._claims:
            return self._claims[token][1]
        if recovery:
            return []
        expired = [key for _, key in sorted((at, key) for key, (at, _) in self._leases.items() if elapsed(at))][:limit]
        due = [key for _, key in sorted((at, key) for key, at in self._due.items() if elapsed(at))]
        for key in due:
            if key in self._leases:
                self._due[key] = self._leases[key][0]
        free = [key for key in due if key not in self._leases][: limit - len(expired)]
        taken = [self._taken(key, forced=False, expired=True) for key in expired]
        taken += [self._taken(key, forced=elapsed(self._force.get(key, now + 1)), expired=False) for key in free]
        for claim in taken:
            self._leases[claim.key] = (end, token)
            self._due.pop(claim.key, None)
        if taken:
            self._claims[token] = (end, taken)
        return taken

    def _taken(self, key: ProfileKey, *, forced: bool, expired: bool) -> Claim:
        """The claim of a profile; once it is forced, only the claim says so."""
        if expired or forced:
            self._force.pop(key, None)
        return Claim(key, forced, taken_over=expired)

    def holds(self, token: str, key: ProfileKey) -> bool:
        """Whether the profile's claim has this token."""
        return self._leases.get(key, (0, ""))[1] == token

    def settle(self, one: Settlement, now: int, next_due: int | None, forced_from: int) -> None:
        """End a claim. Due at `next_due` if that is given (the version moved); forced later if it was taken over."""
        key = one.claim.key
        del self._leases[key]
        self.settled[key] = one.hash
        if next_due is None:
            self._due.pop(key, None)
        else:
            self.sooner(key, next_due)
        if one.claim.taken_over:
            self._force[key] = forced_from
        if key in self._force:
            self.sooner(key, max(self._force[key], now))

    def defer(self, claim: Claim, now: int, due: int) -> None:
        """Give a claim back as it was; one that was taken over runs out then, so that the next claim takes it over."""
        if claim.taken_over:
            self._leases[claim.key] = (due, "")
            return
        del self._leases[claim.key]
        self._due[claim.key] = due
        if claim.forced:
            self._force[claim.key] = now

    def force(self, key: ProfileKey, now: int) -> None:
        """Due at once, its settled hash ignored."""
        self._force.setdefault(key, now)
        self.sooner(key, now)

    def recheck(self, key: ProfileKey, now: int) -> None:
        """Due at once, its settled hash forgotten; a claim that runs may have checked the file before."""
        self.settled.pop(key, None)
        self.sooner(key, now)
        if key in self._leases:
            self._force.setdefault(key, now)

    def pending(self, key: ProfileKey) -> bool:
        """Whether the profile is due or claimed."""
        return key in self._due or key in self._leases

    def forget(self, key: ProfileKey) -> None:
        """Remove all that is known of a profile that is not pending."""
        for known in (self.settled, self._force):
            known.pop(key, None)
