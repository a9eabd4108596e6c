"""A page that shows a site as it is, or as it was: only a subscriber, or only a reader of a recording."""
