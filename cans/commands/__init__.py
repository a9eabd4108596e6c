"""One file a command. None imports what it runs before it runs it, so that `cans --help` stays quick."""
