"""Sentry: errors of tasks that failed permanently, and cron monitors for schedules."""
