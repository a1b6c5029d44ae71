from django.db import migrations, models

ROWS = "storage_chatinteraction"
STUBS = "storage_archivedinteraction"
OF_MODEL = "storage_usageofmodel"
OF_USER = "storage_usageofuser"
REBUILD = "storage_usagerebuild"

IN_SQL = {"model_name": "archivedinteraction"}
"""Not where interactions are elsewhere."""

MODEL_OF = "day = substr({row}.created_at, 1, 10) AND model_used = {row}.model_used"
USER_OF = MODEL_OF + " AND user_id = {row}.user_id"

COUNT_OF_MODEL = f"""
    INSERT INTO {OF_MODEL}
        (day, model_used, interactions, unanswered, input_tokens, output_tokens, hot, cold)
    VALUES (substr(NEW.created_at, 1, 10), NEW.model_used,
        1, NEW.response = '', NEW.input_tokens, NEW.output_tokens, 1, 0)
    ON CONFLICT (day, model_used) DO UPDATE SET
        interactions = interactions + 1, unanswered = unanswered + excluded.unanswered,
        input_tokens = input_tokens + excluded.input_tokens,
        output_tokens = output_tokens + excluded.output_tokens, hot = hot + 1;
"""

COUNT_OF_USER = f"""
    INSERT INTO {OF_USER}
        (day, user_id, model_used, interactions, unanswered, input_tokens, output_tokens)
    VALUES (substr(NEW.created_at, 1, 10), NEW.user_id, NEW.model_used,
        1, NEW.response = '', NEW.input_tokens, NEW.output_tokens)
    ON CONFLICT (day, user_id, model_used) DO UPDATE SET
        interactions = interactions + 1, unanswered = unanswered + excluded.unanswered,
        input_tokens = input_tokens + excluded.input_tokens,
        output_tokens = output_tokens + excluded.output_tokens;
"""

LESS_THE_OLD = """
    interactions = interactions - 1, unanswered = unanswered - (OLD.response = ''),
    input_tokens = input_tokens - OLD.input_tokens,
    output_tokens = output_tokens - OLD.output_tokens
"""

DIFFERENCE = """
    unanswered = unanswered + (NEW.response = '') - (OLD.response = ''),
    input_tokens = input_tokens + NEW.input_tokens - OLD.input_tokens,
    output_tokens = output_tokens + NEW.output_tokens - OLD.output_tokens
"""

SAME_ROLL_UP = """
    OLD.model_used = NEW.model_used AND OLD.user_id = NEW.user_id
    AND substr(OLD.created_at, 1, 10) = substr(NEW.created_at, 1, 10)
"""

SAME_NUMBERS = """
    (OLD.response = '') = (NEW.response = '') AND OLD.input_tokens = NEW.input_tokens
    AND OLD.output_tokens = NEW.output_tokens
"""

COUNT_STUB = f"""
    INSERT INTO {OF_MODEL}
        (day, model_used, interactions, unanswered, input_tokens, output_tokens, hot, cold)
    VALUES (substr(NEW.created_at, 1, 10), NEW.model_used, 0, 0, 0, 0, 0, 1)
    ON CONFLICT (day, model_used) DO UPDATE SET cold = cold + 1;
"""

TRIGGERS = {
    "usage_created": f"AFTER INSERT ON {ROWS} BEGIN {COUNT_OF_MODEL} {COUNT_OF_USER} END",
    "usage_changed": f"""
        AFTER UPDATE ON {ROWS} WHEN {SAME_ROLL_UP} AND NOT ({SAME_NUMBERS})
        BEGIN
            UPDATE {OF_MODEL} SET {DIFFERENCE} WHERE {MODEL_OF.format(row="NEW")};
            UPDATE {OF_USER} SET {DIFFERENCE} WHERE {USER_OF.format(row="NEW")};
        END
    """,
    "usage_moved": f"""
        AFTER UPDATE ON {ROWS} WHEN NOT ({SAME_ROLL_UP})
        BEGIN
            UPDATE {OF_MODEL} SET {LESS_THE_OLD}, hot = hot - 1 WHERE {MODEL_OF.format(row="OLD")};
            UPDATE {OF_USER} SET {LESS_THE_OLD} WHERE {USER_OF.format(row="OLD")};
            {COUNT_OF_MODEL} {COUNT_OF_USER}
        END
    """,
    "usage_deleted": f"""
        AFTER DELETE ON {ROWS}
        BEGIN UPDATE {OF_MODEL} SET hot = hot - 1 WHERE {MODEL_OF.format(row="OLD")}; END
    """,
    "usage_archived": f"""
        AFTER INSERT ON {STUBS} WHEN NEW.model_used IS NOT NULL BEGIN {COUNT_STUB} END
    """,
    "usage_stub_completed": f"""
        AFTER UPDATE OF model_used ON {STUBS}
        WHEN OLD.model_used IS NULL AND NEW.model_used IS NOT NULL BEGIN {COUNT_STUB} END
    """,
    "usage_stub_deleted": f"""
        AFTER DELETE ON {STUBS} WHEN OLD.model_used IS NOT NULL
        BEGIN UPDATE {OF_MODEL} SET cold = cold - 1 WHERE {MODEL_OF.format(row="OLD")}; END
    """,
}

REBUILD_IF_ANY = f"""
    WITH stored AS (SELECT EXISTS (SELECT 1 FROM {ROWS}) OR EXISTS (SELECT 1 FROM {STUBS}) AS any)
    INSERT INTO {REBUILD} (done_until) SELECT NULL FROM stored WHERE any
"""  # noqa: S608  (names)
# It begins with WITH so that `storage.startup.upgrades` sees that it goes through no table.


def create(name: str, trigger: str) -> migrations.RunSQL:
    """An operation; the statement is in a list, or Django would divide it at its semicolons."""
    sql = [f"CREATE TRIGGER {name} {trigger}"]
    return migrations.RunSQL(sql, [f"DROP TRIGGER {name}"], hints=IN_SQL)


class Migration(migrations.Migration):
    """Each change of an interaction or a stub changes the roll-ups, in the same transaction."""

    dependencies = [("storage", "0009_staff")]

    operations = [
        migrations.AddField(
            model_name="archivedinteraction",
            name="model_used",
            field=models.CharField(
                max_length=255,
                null=True,
                help_text="For the roll-ups of usage. Empty in stubs that earlier versions made.",
            ),
        ),
        migrations.CreateModel(
            name="UsageRebuild",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "done_until",
                    models.DateField(
                        null=True,
                        help_text="The last day that is counted again; empty before the first.",
                    ),
                ),
            ],
            options={"default_permissions": ()},
        ),
        *(create(name, trigger) for name, trigger in TRIGGERS.items()),
        migrations.RunSQL([REBUILD_IF_ANY], migrations.RunSQL.noop, hints=IN_SQL),
    ]
