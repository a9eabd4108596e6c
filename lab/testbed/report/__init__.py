"""A testbed's run, told to people: numbers, sentences and figures, apart from the page they stand on."""
