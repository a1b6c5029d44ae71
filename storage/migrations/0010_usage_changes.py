from django.db import migrations


class Migration(migrations.Migration):
    """A database's own record of what changed, for the roll-ups of usage."""

    dependencies = [("storage", "0009_staff")]

    operations: list[migrations.RunSQL] = []
