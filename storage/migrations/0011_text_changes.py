from django.db import migrations


class Migration(migrations.Migration):
    """A database's own record of which texts changed, for the search index."""

    dependencies = [("storage", "0010_usage_changes")]

    operations: list[migrations.RunSQL] = []
