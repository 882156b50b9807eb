"""The admin: lists, pages, filters, actions, and who may do what."""

from unittest import mock

from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import TestCase
from django.test.utils import CaptureQueriesContext
from library.tasks import app, lend_book

from suite.support import query
from underway_pg.django import admin as underway_admin
from underway_pg.django.models import Queue, Schedule, Task, Worker

LISTS = {name: f"/admin/underway/{name}/" for name in ("task", "queue", "schedule", "worker")}


def claim_and_fail(queue="quick"):
    """A task that has failed for good."""
    task = int(lend_book.options(queue=queue).enqueue(book=1))
    query(
        'select underway.fail(c.id, c.lease, \'{"message": "torn"}\', retryable => false)'
        " from underway.dequeue(%s, 100) c",
        queue,
    )
    return task


class Admin(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.operator = User.objects.create_superuser("operator")
        cls.reader = User.objects.create_user("reader", is_staff=True)
        cls.reader.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
        cls.stranger = User.objects.create_user("stranger", is_staff=True)

    def setUp(self):
        self.client.force_login(self.operator)

    def listed(self, name="task", **parameters):
        response = self.client.get(LISTS[name], parameters, follow=True)
        self.assertEqual(response.status_code, 200)
        return [each.pk for each in response.context["cl"].result_list]

    def act(self, name, action, *keys):
        """Run an action. Returns what the admin says."""
        data = {"action": action, "_selected_action": keys}
        response = self.client.post(LISTS[name], data, follow=True)
        self.assertEqual(response.status_code, 200)
        return [str(message) for message in response.context["messages"]]

    def test_each_list_and_each_page_can_be_read(self):
        task = lend_book.enqueue(book=7)
        worker = query("select underway.register_worker('w', '{quick}', 1)")[0][0]
        for name, key, text in (
            ("task", task, "&quot;book&quot;: 7"),
            ("queue", "quick", "quick"),
            ("schedule", "close_library", "@daily"),
            ("worker", worker, "quick"),
        ):
            with self.subTest(name=name):
                self.assertIn(key, self.listed(name))
                page = self.client.get(f"{LISTS[name]}{key}/change/")
                self.assertContains(page, text)
                self.assertNotContains(page, 'name="_save"')

    def test_the_page_of_a_task_says_why_it_is_not_running_and_what_failed(self):
        self.assertContains(self.client.get(f"{LISTS['task']}{lend_book.enqueue(book=1)}/change/"), "no live worker")
        self.assertContains(self.client.get(f"{LISTS['task']}{claim_and_fail()}/change/"), "torn")

    def test_tasks_are_filtered_and_searched(self):
        failed = claim_and_fail()
        pending = lend_book.options(queue="default", unique_key="emma").enqueue(book=1)
        grouped = lend_book.options(concurrency_key="austen").enqueue(book=1)
        self.assertEqual(self.listed(), [grouped, pending, failed])
        for parameters, expected in (
            ({"state__exact": "failed"}, [failed]),
            ({"queue": "default"}, [pending]),
            ({"job": "lend_book", "queue": "quick"}, [grouped, failed]),
            ({"job": "shelf"}, []),
            ({"q": str(failed)}, [failed]),
            ({"q": "emma"}, [pending]),
            ({"q": "austen"}, [grouped]),
            ({"q": "aust"}, []),
            ({"q": "9" * 30}, []),
        ):
            with self.subTest(parameters=parameters):
                self.assertEqual(self.listed(**parameters), expected)

    def test_no_list_counts_the_history(self):
        for _ in range(3):
            claim_and_fail()
        with (
            mock.patch.object(underway_admin, "_MAX_ROWS", 2),
            mock.patch.object(underway_admin.TaskAdmin, "list_per_page", 1),
            CaptureQueriesContext(connection) as captured,
        ):
            self.assertEqual([len(self.listed(p=page)) for page in (1, 2)], [1, 1])
        reads = [each["sql"] for each in captured if "task_list" in each["sql"]]
        self.assertGreater(len(reads), 1)
        self.assertEqual([sql for sql in reads if "LIMIT" not in sql], [])

    def test_a_query_that_takes_too_long_says_what_to_do(self):
        lend_book.enqueue(book=1)
        slow = Task.objects.extra(where=["pg_sleep(10) is null"]).order_by("id")
        with (
            mock.patch.object(underway_admin, "_LIST_TIMEOUT", "1ms"),
            mock.patch.object(underway_admin.TaskAdmin, "get_search_results", lambda *_: (slow, False)),
        ):
            response = self.client.get(LISTS["task"], {"job": "shelf"})
        self.assertRedirects(response, LISTS["task"], fetch_redirect_response=False)
        self.assertContains(self.client.get(LISTS["task"]), "choose a state or a queue")

    def test_tasks_are_retried_and_cancelled(self):
        failed, pending = claim_and_fail(), int(lend_book.enqueue(book=1))
        said = self.act("task", "retry", failed, pending)
        self.assertEqual(app.task(failed).state, "pending")
        self.assertEqual(len(said), 2)
        self.assertIn(f"{pending}: task {pending}", said[0])
        self.assertEqual(said[1], "Retry failed or cancelled tasks: 1")
        self.act("task", "cancel", failed, pending)
        self.assertEqual([app.task(task).state for task in (failed, pending)], ["cancelled"] * 2)

    def test_an_action_ends_after_a_bounded_number_of_tasks(self):
        tasks = [int(lend_book.enqueue(book=number)) for number in range(3)]
        with mock.patch.object(underway_admin, "_MAX_ACTION", 2):
            said = self.act("task", "cancel", *tasks)
        self.assertEqual(said, ["These were the first 2; repeat the action for more.", "Cancel tasks: 2"])

    def test_queues_are_paused_resumed_and_redriven(self):
        query("select underway.create_queue('dead'), underway.create_queue('quick', dead_letter_queue => 'dead')")
        self.act("queue", "pause", "quick")
        self.assertIsNotNone(Queue.objects.get(queue="quick").paused_at)
        self.act("queue", "resume", "quick")
        self.assertIsNone(Queue.objects.get(queue="quick").paused_at)
        failed = claim_and_fail()
        self.assertEqual(Queue.objects.get(queue="dead").dead_letters, 1)
        self.act("queue", "redrive", "dead")
        self.assertEqual(app.task(failed).state, "pending")

    def test_schedules_are_paused_resumed_and_run(self):
        self.act("schedule", "pause", "close_library")
        self.assertIsNotNone(Schedule.objects.get(schedule="close_library").paused_at)
        self.act("schedule", "resume", "close_library")
        self.act("schedule", "run_now", "close_library")
        self.assertEqual([each.job for each in Task.objects.all()], ["close_library"])

    def test_workers_are_stopped(self):
        query("select underway.register_worker('w', '{quick}', 1)")
        self.act("worker", "stop", Worker.objects.get().pk)
        self.assertIsNotNone(Worker.objects.get().stop_asked_at)

    def test_without_the_permission_to_change_everything_is_read_only(self):
        self.client.force_login(self.reader)
        task = int(lend_book.enqueue(book=7))
        for name in LISTS:
            with self.subTest(name=name):
                response = self.client.get(LISTS[name])
                self.assertEqual((response.status_code, response.context["cl"].formset), (200, None))
                self.assertNotContains(response, 'name="action"')
        self.assertContains(self.client.get(f"{LISTS['task']}{task}/change/"), "book")
        self.act("task", "cancel", task)
        self.assertEqual(app.task(task).state, "pending")
        for path in ("add/", f"{task}/delete/"):
            self.assertEqual(self.client.get(LISTS["task"] + path).status_code, 403)

    def test_without_the_permission_to_view_nothing_is_shown(self):
        self.client.force_login(self.stranger)
        for path in LISTS.values():
            self.assertEqual(self.client.get(path).status_code, 403)

    def test_a_view_cannot_be_written(self):
        with self.assertRaisesMessage(TypeError, "Queue is a view"):
            Queue(queue="new").save()
        with self.assertRaisesMessage(TypeError, "Queue is a view"):
            Queue.objects.get(queue="quick").delete()
