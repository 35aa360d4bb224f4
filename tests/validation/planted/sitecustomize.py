"""Found by the children of a process with a planted bug: plants the same one there."""

import os

if os.environ.get("ACCEL_TESTS_PLANTED_BUG"):
    import msgspec

    from tests.validation.planting import VARIABLE, Edit, plant

    plant(msgspec.json.decode(os.environ[VARIABLE], type=list[Edit]))
