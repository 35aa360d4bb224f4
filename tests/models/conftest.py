"""These files stand for a user's own and import each other as such: no tests to collect."""

collect_ignore = ["factories.py", "sibling.py"]
