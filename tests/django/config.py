"""The settings. Where the server is comes from the environment, which libpq reads."""

import importlib.util
import json
import os

from underway_pg import Queue, RetryPolicy

SECRET_KEY = "only for tests"
DEBUG = False
USE_TZ = True
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "underway_pg.django",
    "library",
]
if importlib.util.find_spec("django.tasks") is None:
    INSTALLED_APPS.append("django_tasks")
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

NAME = os.environ["PGDATABASE"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": NAME,
        # A test may want other settings of the connection, such as {"CONN_MAX_AGE": null}.
        **json.loads(os.environ.get("TEST_DATABASE", "{}")),
    },
    "other": {"ENGINE": "django.db.backends.postgresql", "NAME": f"{NAME}_other"},
}

UNDERWAY = {
    "QUEUES": [Queue(name="quick", retry=RetryPolicy(max_attempts=2, initial_interval=0))],
    "MIDDLEWARE": ["library.measure.measured"],
    "LIFESPAN": "library.measure.lifespan",
    **json.loads(os.environ.get("TEST_UNDERWAY", "{}")),
}

TASKS = {
    "default": {
        "BACKEND": "underway_pg.django.backend.UnderwayBackend",
        "QUEUES": ["default", "email"],
        "OPTIONS": {"retry": RetryPolicy(max_attempts=2, initial_interval=0)},
    }
}
