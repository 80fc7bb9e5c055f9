"""The one Celery task: the bell."""

from celery import Celery

from loradex.worker.batch import Answering

ANSWER = "loradex.answer"


def register(app: Celery, answering: Answering) -> None:
    """Teach the app what to do when the bell rings.

    A message says that there is work, never what the work is: whatever it carries is ignored, so a message
    that is forged, repeated or about a job that is done costs one look into Postgres and changes nothing.
    """

    def answer(*_said: object, **_more: object) -> None:
        answering.bell()

    app.task(name=ANSWER)(answer)
