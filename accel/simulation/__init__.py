"""Policies on a virtual clock, fed with measured service times: which one to use, and what it would carry."""
