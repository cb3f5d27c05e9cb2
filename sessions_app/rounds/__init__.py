"""The state machine of a running task: each step idempotent, none of it waits."""
