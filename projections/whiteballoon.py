"""WhiteBalloon's tables, as it creates them: two databases, or two halves of one.

`MAIN` holds people, groups and comments; `INSIGHTS` a language model's analyses of the comments. The tests and the demo
create databases from them; the reading side names their columns and never creates anything.
"""

from sqlalchemy import (
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

MAIN = MetaData()
INSIGHTS = MetaData()
HIGHLIGHTS = MetaData()
"""In the main database too, of a newer WhiteBalloon's bio generator; only `wb signal-profile freshness` reads it."""


def _sync_scope() -> Column[str]:
    return Column("sync_scope", String, nullable=False, server_default=text("'private'"))


users = Table(
    "users",
    MAIN,
    Column("id", Integer, primary_key=True),
    Column("username", String, unique=True),
    Column("is_admin", Boolean, nullable=False, server_default=false()),
    Column("contact_email", String(255)),
    Column("created_at", DateTime, nullable=False),
    _sync_scope(),
)

user_attributes = Table(
    "user_attributes",
    MAIN,
    Column("id", Integer, primary_key=True),
    Column("user_id", Integer, ForeignKey("users.id"), nullable=False),
    Column("key", String, nullable=False),
    Column("value", String),
    Column("created_at", DateTime, nullable=False),
    Column("updated_at", DateTime, nullable=False),
    Column("created_by_user_id", Integer),
    Column("updated_by_user_id", Integer),
    UniqueConstraint("user_id", "key"),
    Index("ix_user_attributes_user_id", "user_id"),
)

help_requests = Table(
    "help_requests",
    MAIN,
    Column("id", Integer, primary_key=True),
    Column("title", String(200)),
    Column("description", String(4000), nullable=False, server_default=text("''")),
    Column("status", String, nullable=False, server_default=text("'open'")),
    Column("contact_email", String(255)),
    Column("created_by_user_id", Integer),
    Column("created_at", DateTime, nullable=False),
    Column("updated_at", DateTime, nullable=False),
    Column("completed_at", DateTime),
    _sync_scope(),
    Index("ix_help_requests_status", "status"),
)

request_comments = Table(
    "request_comments",
    MAIN,
    Column("id", Integer, primary_key=True),
    Column("help_request_id", Integer, ForeignKey("help_requests.id"), nullable=False),
    Column("user_id", Integer, ForeignKey("users.id"), nullable=False),
    Column("body", Text, nullable=False),
    Column("created_at", DateTime, nullable=False),
    Column("deleted_at", DateTime),
    _sync_scope(),
    Index("ix_request_comments_help_request_id", "help_request_id"),
    Index("ix_request_comments_user_id", "user_id"),
)

comment_llm_runs = Table(
    "comment_llm_runs",
    INSIGHTS,
    Column("run_id", Text, primary_key=True),
    Column("snapshot_label", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("started_at", Text, nullable=False),
    Column("completed_batches", Integer, nullable=False),
    Column("total_batches", Integer, nullable=False),
)

comment_llm_analyses = Table(
    "comment_llm_analyses",
    INSIGHTS,
    Column("comment_id", Integer, primary_key=True, autoincrement=False),
    Column("run_id", Text, nullable=False),
    Column("help_request_id", Integer, nullable=False),
    Column("summary", Text),
    Column("resource_tags", Text),
    Column("request_tags", Text),
    Column("audience", Text),
    Column("residency_stage", Text),
    Column("location", Text),
    Column("location_precision", Text),
    Column("urgency", Text),
    Column("sentiment", Text),
    Column("tags", Text),
    Column("notes", Text),
    Column("recorded_at", Text, nullable=False),
    Index("idx_comment_llm_analyses_run_id", "run_id"),
)

# Without its columns for staleness and manual overrides.
user_profile_highlights = Table(
    "user_profile_highlights",
    HIGHLIGHTS,
    Column("user_id", Integer, primary_key=True),
    Column("bio_text", Text),
    Column("proof_points_json", Text),
    Column("quotes_json", Text),
    Column("confidence_note", Text),
    Column("source_group", String),
    Column("snapshot_hash", String),
    Column("snapshot_last_seen_at", DateTime),
    Column("llm_model", String),
    Column("guardrail_issues_json", Text),
    Column("generated_at", DateTime),
)
