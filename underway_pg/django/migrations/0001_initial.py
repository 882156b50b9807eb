"""Version 1 of the schema."""

from django.db import migrations, models

from underway_pg.django.operations import SchemaVersion

OPTIONS = {"managed": False, "default_permissions": ("view", "change")}


class Migration(migrations.Migration):
    """The schema, and its views as models that Django does not manage."""

    initial = True
    operations = [
        SchemaVersion(1),
        migrations.CreateModel(
            "Task", [("id", models.BigIntegerField(primary_key=True))], {**OPTIONS, "db_table": 'underway"."task_list'}
        ),
        migrations.CreateModel(
            "Queue",
            [("queue", models.TextField(primary_key=True))],
            {**OPTIONS, "db_table": 'underway"."queue_stats'},
        ),
        migrations.CreateModel(
            "Schedule",
            [("schedule", models.TextField(primary_key=True))],
            {**OPTIONS, "db_table": 'underway"."schedule_stats'},
        ),
        migrations.CreateModel(
            "Worker",
            [("id", models.BigIntegerField(primary_key=True))],
            {**OPTIONS, "db_table": 'underway"."worker_stats'},
        ),
    ]
