from django.db import migrations

TABLE = "storage_chatinteraction"
STUBS = "storage_archivedinteraction"


class Migration(migrations.Migration):
    """An id in cold storage is taken: inserting it fails as that of a stored one does."""

    dependencies = [("storage", "0003_lifecycle")]

    operations = [
        migrations.RunSQL(
            f"""
            CREATE TRIGGER interaction_id_archived BEFORE INSERT ON {TABLE}
            WHEN EXISTS (SELECT 1 FROM {STUBS} WHERE interaction_id = NEW.interaction_id)
            BEGIN SELECT RAISE(ABORT, 'archived'); END
            """,
            "DROP TRIGGER interaction_id_archived",
            hints={"model_name": "archivedinteraction"},  # not where interactions are elsewhere
        ),
    ]
