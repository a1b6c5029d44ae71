from django.db import migrations


class Migration(migrations.Migration):
    """The roles of staff: groups with their permissions."""

    dependencies = [("storage", "0011_text_changes")]

    operations: list[migrations.RunSQL] = []
