"""The functions of jobs/functions/test_functions.c, for Python workers."""

import time


def echo(x=None):
    return x


def fail(msg="boom"):
    raise ValueError(msg)


def sleep(seconds):
    time.sleep(seconds)
    return seconds
