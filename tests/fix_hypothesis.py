"""How long properties are looked at: a little in `make test`, long in `make faults`."""

from hypothesis import HealthCheck, settings

# A shared machine may pause any test for a second, so no case has a deadline of its own.
COMMON = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
}

settings.register_profile("plain", settings(**COMMON))
settings.register_profile("hostile", settings(**COMMON, max_examples=2000, print_blob=True))
settings.load_profile("plain")
