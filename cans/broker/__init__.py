"""`cans broker`: which broker, its files, its process."""
