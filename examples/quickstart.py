"""The smallest program: a job, a task and a worker.

python examples/quickstart.py
"""

import underway_pg as underway

app = underway.App(embedded=True)  # a PostgreSQL for first steps; or App("postgresql://..."), or App() and DATABASE_URL


@app.job(queue="email", retry=underway.RetryPolicy(max_attempts=10))
def send_welcome_email(user_id: int, email: str, name: str) -> None:
    print(f"Sending welcome email to {name} <{email}> (user_id: {user_id})")


if __name__ == "__main__":
    task = send_welcome_email.enqueue(user_id=42, email="ferris@example.com", name="Ferris")
    app.run(drain=True)  # a worker that stops when no task is left; without drain it runs until SIGTERM
    print(f"task {task.id} has {app.task(task).state}")
    app.close()

# Output:
# Sending welcome email to Ferris <ferris@example.com> (user_id: 42)
# task 1 has succeeded
