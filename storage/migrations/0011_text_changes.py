from django.db import migrations, models

ROWS = "storage_chatinteraction"
STUBS = "storage_archivedinteraction"
CHANGES = {
    "text_inserted": f"AFTER INSERT ON {ROWS}",
    "text_updated": f"AFTER UPDATE OF message, response ON {ROWS} "
    "WHEN OLD.message <> NEW.message OR OLD.response <> NEW.response",
    "text_deleted": f"AFTER DELETE ON {ROWS}",
    "text_archived": f"AFTER INSERT ON {STUBS}",
    "text_removed": f"AFTER DELETE ON {STUBS}",
}


def trigger(name, event):
    row = "OLD" if "DELETE" in event else "NEW"
    return migrations.RunSQL(
        [
            f"CREATE TRIGGER {name} {event} BEGIN "
            f"INSERT INTO storage_textchange (interaction_id) VALUES ({row}.interaction_id); END"
        ],
        [f"DROP TRIGGER {name}"],
        hints={"model_name": "textchange"},  # not where interactions are elsewhere
    )


class Migration(migrations.Migration):
    """A database's own record of which texts changed, for the search index."""

    dependencies = [("storage", "0010_usage_changes")]

    operations = [
        migrations.CreateModel(
            name="TextChange",
            fields=[
                ("id", models.IntegerField(primary_key=True, serialize=False)),
                ("interaction_id", models.CharField(max_length=255)),
            ],
            options={"default_permissions": ()},
        ),
        *[trigger(name, event) for name, event in CHANGES.items()],
    ]
