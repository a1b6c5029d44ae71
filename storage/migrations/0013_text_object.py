from django.db import migrations, models


class Migration(migrations.Migration):
    """Where the texts of a row are, if they are large. No row is rewritten; an index is built."""

    dependencies = [("storage", "0012_roles")]

    operations = [
        migrations.AddField(
            model_name="chatinteraction",
            name="text_object",
            field=models.TextField(
                null=True,
                editable=False,
                help_text="Names the object that has the texts, if they are large.",
            ),
        ),
        migrations.AddIndex(
            model_name="chatinteraction",
            index=models.Index(
                fields=["text_object"],
                condition=models.Q(text_object__isnull=False),
                name="interaction_text_object",
            ),
        ),
    ]
