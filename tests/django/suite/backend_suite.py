"""The backend of Django's tasks."""

from datetime import UTC, datetime, timedelta
from unittest import mock

from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.test import TestCase, TransactionTestCase, override_settings
from django.utils import timezone
from library.tasks import NoShelf, add, add_async, app, describe, fail, fail_once, lend_book, not_a_task, not_json, send

from suite.support import states, work
from underway_pg.django.backend import UnderwayBackend

try:
    from django.tasks import TaskResultStatus, default_task_backend, task
    from django.tasks.exceptions import InvalidTask, TaskResultDoesNotExist, TaskResultMismatch
    from django.tasks.signals import task_enqueued, task_finished, task_started
except ImportError:
    from django_tasks import TaskResultStatus, default_task_backend, task
    from django_tasks.exceptions import InvalidTaskError as InvalidTask
    from django_tasks.exceptions import TaskResultDoesNotExist, TaskResultMismatch
    from django_tasks.signals import task_enqueued, task_finished, task_started

READY, RUNNING = TaskResultStatus.READY, TaskResultStatus.RUNNING
FAILED, SUCCESSFUL = TaskResultStatus.FAILED, TaskResultStatus.SUCCESSFUL


class Enqueue(TestCase):
    def test_the_backend_supports_everything(self):
        for flag in ("supports_defer", "supports_async_task", "supports_get_result", "supports_priority"):
            self.assertTrue(getattr(default_task_backend, flag), flag)

    def test_a_result_is_ready_and_knows_what_was_enqueued(self):
        before = timezone.now()
        result = add.enqueue(1, other=2)
        self.assertEqual((result.status, result.args, result.kwargs), (READY, [1], {"other": 2}))
        self.assertEqual((result.task, result.backend, result.attempts), (add, "default", 0))
        self.assertEqual((result.errors, result.started_at, result.finished_at), ([], None, None))
        self.assertLessEqual(before, result.enqueued_at)
        self.assertFalse(result.is_finished)
        with self.assertRaisesMessage(ValueError, "not finished"):
            _ = result.return_value
        found = default_task_backend.get_result(result.id)
        self.assertEqual((found.task, found.args, found.kwargs, found.status), (add, [1], {"other": 2}, READY))

    def test_a_rollback_takes_the_task_away(self):
        with self.assertRaises(ZeroDivisionError), transaction.atomic():
            result = add.enqueue(1)
            raise ZeroDivisionError
        with self.assertRaises(TaskResultDoesNotExist):
            result.refresh()
        with transaction.atomic():
            kept = add.enqueue(1)
        kept.refresh()
        self.assertEqual(kept.status, READY)

    def test_priority_queue_and_run_after_are_those_of_the_task(self):
        at = timezone.now() + timedelta(hours=1)
        later = send.using(run_after=at)
        for one, expected in ((send, ("email", 7, None)), (send.using(priority=-3), ("email", -3, None))):
            info = app.task(int(one.enqueue("a@example.org").id))
            self.assertEqual((info.queue, info.priority), expected[:2])
        result = later.enqueue("a@example.org")
        self.assertEqual(app.task(int(result.id)).ready_at, at)
        self.assertEqual(default_task_backend.get_result(result.id).task, later)

    def test_what_json_cannot_carry_is_refused(self):
        for wrong in (object(), {1, 2}, datetime.now(UTC)):
            with self.subTest(wrong=wrong), self.assertRaises(TypeError):
                add.enqueue(wrong)
        self.assertEqual(add.enqueue((1, 2)).args, [[1, 2]])
        self.assertEqual(states(), [("library.tasks.add", "pending")])

    def test_a_task_that_cannot_run_is_invalid(self):
        def local(): ...

        for function, options in (
            (local, {}),
            (not_a_task, {"queue_name": "nowhere"}),
            (not_a_task, {"priority": 101}),
            (not_a_task, {"takes_context": True}),
        ):
            with self.subTest(function=function, options=options), self.assertRaises(InvalidTask):
                task(**options)(function)
        with self.assertRaises(InvalidTask):
            add.using(run_after=datetime(2030, 1, 1))

    def test_an_unknown_result_does_not_exist(self):
        native = lend_book.enqueue(book=1)
        for id in ("0", "none", "", "9" * 30, str(native)):
            with self.subTest(id=id), self.assertRaises(TaskResultDoesNotExist):
                default_task_backend.get_result(id)

    def test_a_result_of_another_task_does_not_match(self):
        with self.assertRaises(TaskResultMismatch):
            send.get_result(add.enqueue(1).id)

    def test_a_cancelled_task_has_failed(self):
        result = add.enqueue(1)
        app.cancel(int(result.id))
        result.refresh()
        self.assertEqual((result.status, result.errors, result.is_finished), (FAILED, [], True))

    def test_an_enqueue_is_announced(self):
        announced = []

        def receive(sender, task_result, **_):
            announced.append((sender, task_result.id))

        task_enqueued.connect(receive)
        self.addCleanup(task_enqueued.disconnect, receive)
        result = add.enqueue(1)
        self.assertEqual(announced, [(UnderwayBackend, result.id)])

    def test_a_wrong_option_is_named(self):
        for options, message in (({"retrry": 1}, "retrry"), ({"timeout": "soon"}, "timeout is 'soon'")):
            with self.subTest(options=options), self.assertRaisesMessage(ImproperlyConfigured, message):
                UnderwayBackend("default", {"OPTIONS": options})

    def test_the_backend_needs_the_application(self):
        self.assertEqual(default_task_backend.check(), [])
        with mock.patch("underway_pg.django.backend.apps.is_installed", return_value=False):
            self.assertEqual([each.id for each in default_task_backend.check()], ["underway.E006"])

    async def test_async_code_enqueues_and_reads(self):
        result = await add_async.aenqueue(1, 2)
        self.assertEqual((await default_task_backend.aget_result(result.id)).status, READY)
        await result.arefresh()
        self.assertEqual((await add_async.aget_result(result.id)).args, [1, 2])

    @override_settings(USE_TZ=False)
    def test_without_time_zones_all_times_are_naive(self):
        later = add.using(run_after=datetime(2031, 1, 1))
        found = default_task_backend.get_result(later.enqueue(1).id)
        self.assertEqual(found.task, later)
        self.assertTrue(timezone.is_naive(found.enqueued_at))


class Work(TransactionTestCase):
    def setUp(self):
        self.signals = []
        for signal, name in ((task_started, "started"), (task_finished, "finished")):

            def receive(sender, task_result, name=name, **_):
                self.signals.append((task_result.id, name, task_result.status, task_result.attempts))

            signal.connect(receive, weak=False, dispatch_uid=name)
            self.addCleanup(signal.disconnect, dispatch_uid=name)

    def test_results_have_what_the_functions_returned(self):
        results = [add.enqueue(1, other=2), add_async.enqueue(3, 4), send.enqueue("a"), describe.enqueue("it")]
        work()
        for result in results:
            result.refresh()
        self.assertEqual([each.status for each in results], [SUCCESSFUL] * 4)
        self.assertEqual([each.return_value for each in results], [3, 7, "A", ["it", 1, results[3].id, str(RUNNING)]])
        for each in results:
            self.assertEqual((each.attempts, each.errors, each.is_finished), (1, [], True))
            self.assertLessEqual(each.started_at, each.finished_at)
            self.assertEqual(each.last_attempted_at, each.started_at)
            self.assertEqual(default_task_backend.get_result(each.id), each)
            self.assertEqual(
                [signal[1:] for signal in self.signals if signal[0] == each.id],
                [("started", RUNNING, 1), ("finished", SUCCESSFUL, 1)],
            )

    def test_a_failed_task_has_the_errors_of_its_attempts(self):
        result, broken = fail.enqueue(), not_json.enqueue()
        work()
        result.refresh()
        self.assertEqual((result.status, result.attempts, len(result.errors)), (FAILED, 2, 2))
        for error in result.errors:
            self.assertIs(error.exception_class, NoShelf)
            self.assertIn("no shelf is free", error.traceback)
        self.assertLess(result.started_at, result.last_attempted_at)
        with self.assertRaisesMessage(ValueError, "Task failed"):
            _ = result.return_value
        self.assertEqual(
            [signal[1:] for signal in self.signals if signal[0] == result.id],
            [("started", RUNNING, 1), ("started", RUNNING, 2), ("finished", FAILED, 2)],
        )
        broken.refresh()
        self.assertEqual({error.exception_class for error in broken.errors}, {TypeError})

    def test_a_task_is_tried_again(self):
        result = fail_once.enqueue()
        work()
        result.refresh()
        self.assertEqual((result.status, result.return_value, result.attempts), (SUCCESSFUL, "now", 2))
        self.assertEqual([error.exception_class for error in result.errors], [NoShelf])

    def test_higher_priorities_run_first(self):
        results = [add.using(priority=priority).enqueue(priority) for priority in (-1, 5, 0)]
        work("--concurrency", "1")
        started = [id for id, name, *_ in self.signals if name == "started"]
        self.assertEqual(started, [results[1].id, results[2].id, results[0].id])

    def test_a_receiver_that_raises_does_not_change_the_outcome(self):
        def receive(**_):
            raise RuntimeError("a receiver")

        task_finished.connect(receive)
        self.addCleanup(task_finished.disconnect, receive)
        with self.assertLogs("django.dispatch", "ERROR"):
            results = [add.enqueue(1), add_async.enqueue(1, 2)]
            work()
        for result in results:
            result.refresh()
        self.assertEqual([each.status for each in results], [SUCCESSFUL] * 2)
