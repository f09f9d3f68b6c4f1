"""What the store and a folder's marker both remember, so that a store that was lost learns it again."""
