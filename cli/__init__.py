"""The `tamis` command: one small file per group of commands; nothing heavy is imported before it is needed."""
