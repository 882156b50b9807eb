"""What the settings name: a middleware and a lifespan."""

import contextlib

seen = []


@contextlib.contextmanager
def measured(context):
    yield
    seen.append((context.job, str(context.outcome.kind)))


@contextlib.asynccontextmanager
async def lifespan(app):
    yield {"shelf": 7}
