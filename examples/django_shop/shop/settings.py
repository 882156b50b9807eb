import os

from psycopg.conninfo import conninfo_to_dict

from underway_pg import Queue

SECRET_KEY = os.environ.get("SECRET_KEY", "for development only")
DEBUG = "SECRET_KEY" not in os.environ
ALLOWED_HOSTS = ["localhost"]
ROOT_URLCONF = "shop.urls"
STATIC_URL = "static/"
EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "underway_pg.django",
    "shop",
]
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

server = conninfo_to_dict(os.environ["DATABASE_URL"])
DATABASES = {
    "default": {"ENGINE": "django.db.backends.postgresql", "NAME": server.pop("dbname"), "OPTIONS": server},
}

UNDERWAY = {"QUEUES": [Queue(name="email", rate_limit=10)]}
