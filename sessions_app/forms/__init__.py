"""What people type before there is a task: the wizard's steps, drafts, templates, review."""
