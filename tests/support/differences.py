"""What separates a store from its database."""

from projections.comments.events import Event
from projections.database.database import Database
from projections.profile_key import HIGHEST_ID
from projections.store.protocol import Store
from snapshot.reconcile.reconcile import PartComparison, Scope, cut, read_part, user_ranges
from snapshot.runtime.logs import warn_invalid_row


def differences(store: Store, database: Database) -> list[Event]:
    """The events that would bring all profiles in step with their rows."""
    return [
        event
        for part in cut(user_ranges(database, 0, HIGHEST_ID), None)
        for page in PartComparison(database, part, Scope(), read_part(store, part, Scope()), warn_invalid_row).pages()
        for event in page
    ]
