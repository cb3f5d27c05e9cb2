"""The secrets of webhooks are encrypted with a key made of SECRET_KEY."""

from typing import Any

from django.db import migrations, models

import sessions_app.models.outreach
import sessions_app.models.sealed


def seal_all(apps: Any, schema_editor: Any) -> None:
    webhooks = apps.get_model("sessions_app", "Webhook").objects
    for pk, secret in webhooks.values_list("pk", "secret"):
        webhooks.filter(pk=pk).update(secret=sessions_app.models.sealed.seal(secret))


class Migration(migrations.Migration):
    dependencies = [("sessions_app", "0010_steering")]

    operations = [
        migrations.AlterField(
            model_name="webhook",
            name="secret",
            field=models.CharField(
                default=sessions_app.models.outreach.webhook_secret, editable=False, max_length=255
            ),
        ),
        migrations.RunPython(seal_all, elidable=True),
        migrations.AlterField(
            model_name="webhook",
            name="secret",
            field=sessions_app.models.sealed.SealedField(
                default=sessions_app.models.outreach.webhook_secret, editable=False, max_length=255
            ),
        ),
    ]
