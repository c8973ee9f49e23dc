"""Gunicorn as Fuze runs it: one gevent process, 1000 connections, a cooperative psycopg2."""

import os

bind = os.environ["PEER_BIND"]
workers = 1
worker_class = "gevent"
worker_connections = 1000
accesslog = None
loglevel = "warning"


def post_fork(_server, _worker):
    from psycogreen.gevent import patch_psycopg
    patch_psycopg()
