"""Store, executor, and the stages generate, measure, aggregate."""
