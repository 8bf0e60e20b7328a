"""The whole queue on the wire."""

from typing import Any, ClassVar

from app.rest.fields import Flag
from app.rest.schemas.base import AnswerSchema, RequestSchema


class QueueChange(RequestSchema):
    """What is to be changed of the whole queue; what is left out stays."""

    example: ClassVar[dict[str, Any] | None] = {"is_paused": True}
    is_paused = Flag("Whether no tasks are given out for now.", True)
    is_draining = Flag("Whether no new tasks are accepted for now.", False)


class Queue(AnswerSchema):
    """The whole queue."""

    is_paused = Flag("Whether no tasks are given out for now.", False, required=True)
    is_draining = Flag("Whether no new tasks are accepted for now.", False, required=True)
