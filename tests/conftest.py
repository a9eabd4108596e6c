"""How hypothesis draws: the same examples in every run, so that red is red again and coverage stands still.

`CANS_EXPLORE=1` draws new ones each time; what it finds becomes an `@example`.
"""

import os

from hypothesis import settings

settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None, print_blob=True, max_examples=1000)
settings.load_profile("explore" if os.environ.get("CANS_EXPLORE") == "1" else "same")
