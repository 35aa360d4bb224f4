"""Tiny networks and factories that the tests of what comes in share."""
