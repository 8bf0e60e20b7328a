"""Task types on the wire."""

from typing import Any, ClassVar

from marshmallow import fields, validate

from app.policies import POLICIES
from app.queue.task_types import SORTABLE
from app.rest.fields import Flag, Instant, Int, JsonObject, Name, Policy, Version
from app.rest.schemas.base import AnswerSchema, RequestSchema

SCHEMA_EXAMPLE = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}
_policies: dict[str, Any] = {name: Policy(name) for name in POLICIES}
TaskTypePolicies = RequestSchema.from_dict(_policies, name="TaskTypePolicies")


class TaskTypeRegistration(TaskTypePolicies):  # type: ignore[misc, valid-type]
    """A task type as its owner declares it; a policy left out gets the server's default on a new type."""

    example: ClassVar[dict[str, Any] | None] = {
        "name": "checksum",
        "version": "1.0",
        "param_schema": SCHEMA_EXAMPLE,
        "max_attempts": 5,
    }
    name = Name("Unique, without regard to case.", "checksum", required=True)
    version = Version("The owner's own version of the type.", "1.0", low=1, high=50, required=True)
    param_schema = JsonObject(
        "JSON Schema (draft 2020-12 unless `$schema` says otherwise) of the parameters; must have `type`. "
        "A string that holds the object is understood too.",
        SCHEMA_EXAMPLE,
        from_text=True,
        required=True,
    )
    result_schema = JsonObject(
        "JSON Schema of the result of a completed task.", {"type": "object"}, from_text=True, allow_none=True
    )


class TaskTypeChange(TaskTypePolicies):  # type: ignore[misc, valid-type]
    """What is to be changed of a task type; what is left out stays."""

    example: ClassVar[dict[str, Any] | None] = {"is_paused": True}
    version = Version("The owner's own version of the type.", "1.1", low=1, high=50)
    param_schema = JsonObject("JSON Schema of the parameters; must have `type`.", SCHEMA_EXAMPLE, from_text=True)
    result_schema = JsonObject(
        "JSON Schema of the result of a completed task.", {"type": "object"}, from_text=True, allow_none=True
    )
    is_active = Flag("Whether new tasks are accepted.", True)
    is_paused = Flag("Whether claims are refused for now.", True)


class TaskTypeQuery(RequestSchema):
    """Which task types to list."""

    active_only = Flag("Leave out the inactive ones.", True, load_default=False)
    sort_by = fields.String(
        load_default="id",
        validate=validate.OneOf(SORTABLE, error="Invalid sort_by field. Allowed values: {choices}"),
        metadata={"description": "What to sort by.", "example": "name"},
    )
    sort_order = fields.String(
        load_default="asc",
        validate=validate.OneOf(("asc", "desc", "ASC", "DESC")),
        metadata={"description": "In which direction.", "example": "asc"},
    )


class TaskType(AnswerSchema):
    """A task type."""

    id = Int("The number of the type.", 1, low=1, high=2**63 - 1, required=True)
    name = Name("Its name.", "checksum", required=True)
    version = Version("The owner's own version of the type.", "1.0", required=True)
    param_schema = JsonObject("JSON Schema of the parameters.", SCHEMA_EXAMPLE, required=True)
    result_schema = JsonObject(
        "JSON Schema of the result of a completed task, if there is one.",
        {"type": "object"},
        required=True,
        allow_none=True,
    )
    is_active = Flag("Whether new tasks are accepted.", True, required=True)
    is_paused = Flag("Whether claims are refused for now.", False, required=True)
    created_at = Instant("When it was first registered.", required=True)
    updated_at = Instant("When it was last changed.", required=True)
    usage_count = Int("How many tasks of the type were ever created.", 42, low=0, high=2**63 - 1, required=True)
    last_used_at = Instant("When the latest task of the type was created.", required=True, allow_none=True)


for _name in POLICIES:
    TaskType._declared_fields[_name] = Policy(_name, required=True)


class RegisteredTaskType(TaskType):
    """A task type, and what its registration did."""

    created = Flag("Whether the type is new.", True, required=True)
    updated = Flag("Whether a type of this name was updated.", False, required=True)


class TaskTypeList(AnswerSchema):
    """Task types."""

    task_types = fields.List(fields.Nested(TaskType), required=True, metadata={"description": "The task types."})
    count = Int("How many these are.", 1, low=0, high=2**31, required=True)
