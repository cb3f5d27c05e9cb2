from django.db import migrations, models
from django.db.models import F


def all_hosted(apps, schema_editor):
    """Until now every place of a task that was made here was trained for here."""
    task = apps.get_model("sessions_app", "Task")
    task.objects.filter(owner__isnull=False).update(hosted_places=F("max_participants"))


class Migration(migrations.Migration):
    dependencies = [("sessions_app", "0002_wallets")]

    operations = [
        migrations.AddField(
            model_name="task",
            name="hosted_places",
            field=models.PositiveIntegerField(default=0),
        ),
        migrations.RunPython(all_hosted, migrations.RunPython.noop),
    ]
