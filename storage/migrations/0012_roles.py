from django.contrib.auth.management import create_permissions
from django.db import migrations

VIEWER = ["view_chatinteraction", "view_usageofmodel"]
ROLES = {
    "Viewer": VIEWER,
    "Reader": [*VIEWER, "read_texts"],
    "Privacy officer": [*VIEWER, "export_user", "erase_user", "hold_user", "view_auditentry"],
    "Operator": [
        "view_usageofmodel",
        "view_intakecount",
        "view_apikey",
        "add_apikey",
        "change_apikey",
        "view_modelprice",
        "add_modelprice",
        "change_modelprice",
        "delete_modelprice",
        "restore_day",
    ],
}


def make_roles(apps, schema_editor):
    """Make the groups that are not there. One that is there is the operator's, and stays as it is."""
    alias = schema_editor.connection.alias
    # Django makes permissions after all migrations, but a group needs them now.
    storage = apps.get_app_config("storage")
    storage.models_module = True  # of a historical application it is None, which is passed over
    create_permissions(storage, verbosity=0, using=alias, apps=apps)
    storage.models_module = None
    groups = apps.get_model("auth", "Group").objects.using(alias)
    permissions = apps.get_model("auth", "Permission").objects.using(alias)
    for name, codenames in ROLES.items():
        group, is_new = groups.get_or_create(name=name)
        if is_new:
            found = permissions.filter(
                content_type__app_label="storage", codename__in=codenames
            )
            group.permissions.set(found)


class Migration(migrations.Migration):
    """The roles of staff: groups with their permissions."""

    dependencies = [
        ("storage", "0011_text_changes"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    operations = [migrations.RunPython(make_roles, migrations.RunPython.noop)]
