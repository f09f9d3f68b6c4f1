"""The ways in which a change is noticed: polls, gaps, the sweep, memberships, analysis runs."""
