"""The `smallnet` command. The one room that knows the trainer."""
