"""The dashboard: a web application that shows and operates the queues of one database."""
