"""Hints: the index by which MySQL and MariaDB are to find tasks, where they would now and then choose worse."""

# Otherwise MariaDB now and then scans the primary key of a freshly filled table.
BY_CLAIM_INDEX = "FORCE INDEX (ix_tasks_claim)"
# For a list they would rather walk down the primary key, past all tasks of other statuses or types.
BY_STATUS = "FORCE INDEX (ix_tasks_status)"
BY_TYPE = "FORCE INDEX (ix_tasks_type_id)"
# Where a type has few tasks with the status, all of these are put in order.
BY_STATUS_OR_FEW = "FORCE INDEX (ix_tasks_status, ix_tasks_claim)"
# For a long list of ids in a small table they would scan all of it, lock what they scan, and wait for what others hold.
BY_PRIMARY_KEY = "FORCE INDEX (PRIMARY)"
