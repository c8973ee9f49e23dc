"""The peer: the three routes of the benchmark as a Flask + SQLAlchemy application.

Per request it does what forkmark does: checks the token's signature, asks Redis
in one script for revocation and rate limit, and runs the very same SQL, taken
from sql/queries. It caches nothing, and neither does forkmark in this run.
"""

import datetime
import os
import re
import time
import uuid

import jwt
import redis
from flask import Flask, g, jsonify, request
from sqlalchemy import create_engine, text
from sqlalchemy.pool import QueuePool

QUERIES = os.path.join(os.path.dirname(__file__), "../../../sql/queries")
SECRET = os.environ["JWT_SECRET_KEY"]
LIMITS = ((1000000, 60), (10000000, 3600), (100000000, 86400))

GATE = """
local remaining = -1
for i = 2, #KEYS do
  local count = redis.call('INCR', KEYS[i])
  if count == 1 then redis.call('EXPIRE', KEYS[i], ARGV[i]) end
  local left = tonumber(ARGV[i + #KEYS]) - count
  if remaining == -1 or left < remaining then remaining = left end
end
return { redis.call('EXISTS', KEYS[1]), remaining }
"""


def named_query(resource, name):
    """A statement of sql/queries with its $1, $2 ... as :p1, :p2 ..."""
    with open(os.path.join(QUERIES, resource + ".sql"), encoding="utf-8") as file:
        parts = re.split(r"^-- name: *(\w+)\s*$", file.read(), flags=re.M)
    body = dict(zip(parts[1::2], parts[2::2]))[name]
    body = "\n".join(line for line in body.splitlines() if not line.startswith("--"))
    body = re.sub(r"::", r"\\:\\:", body.strip().rstrip(";"))
    return text(re.sub(r"\$(\d+)", r":p\1", body))


def bind(*values):
    return {f"p{i}": value for i, value in enumerate(values, 1)}


engine = create_engine(os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+psycopg2://"),
                       poolclass=QueuePool, pool_size=5, max_overflow=10, pool_timeout=20,
                       pool_recycle=300)
store = redis.Redis.from_url(os.environ["REDIS_URL"])
gate = store.register_script(GATE)
app = Flask(__name__)
LIST = named_query("bookmarks", "bookmark_list")


@app.before_request
def check():
    if request.path == "/health/liveness":
        return None
    head = request.headers.get("Authorization", "")
    try:
        claims = jwt.decode(head.removeprefix("Bearer "), SECRET, algorithms=["HS256"])
    except jwt.InvalidTokenError:
        return jsonify(message="Signature verification failed", error="invalid_token"), 401
    g.user_id = int(claims["sub"])
    now = int(time.time())
    keys = [f"revoked:{claims['jti']}"] + [
        f"limit:{g.user_id}:{window}:{now // window}" for _, window in LIMITS]
    revoked, remaining = gate(keys=keys, args=[0] + [w for _, w in LIMITS] + [0] + [n for n, _ in LIMITS])
    if revoked:
        return jsonify(message="Token has been revoked", error="token_revoked"), 401
    if remaining < 0:
        return jsonify(error="rate_limit_exceeded"), 429
    g.remaining = remaining
    return None


@app.after_request
def common_headers(answer):
    answer.headers["X-Request-ID"] = request.headers.get("X-Request-ID") or str(uuid.uuid4())
    answer.headers["X-Content-Type-Options"] = "nosniff"
    answer.headers["X-Frame-Options"] = "DENY"
    answer.headers["Referrer-Policy"] = "strict-origin-when-cross-origin"
    answer.headers["Cache-Control"] = "no-store"
    if "remaining" in g:
        answer.headers["X-RateLimit-Limit"] = str(LIMITS[0][0])
        answer.headers["X-RateLimit-Remaining"] = str(g.remaining)
    return answer


@app.get("/health/liveness")
def liveness():
    return jsonify(status="alive", timestamp=datetime.datetime.utcnow().isoformat())


def as_item(row):
    return {"id": row["id"], "url": row["url"], "title": row["title"],
            "description": row["notes"], "category": row["category"],
            "saved_at": str(row["saved_at"]), "has_content": row["has_content"],
            "scrape_status": row["scrape_status"], "quality_score": row["quality_score"],
            "reading_time": row["reading_time"],
            "tags": [tag for tag in (row["tags"] or "").split(",") if tag]}


@app.get("/api/bookmarks")
def bookmarks():
    page = max(request.args.get("page", 1, type=int), 1)
    per_page = min(request.args.get("per_page", 10, type=int), 1000)
    with engine.connect() as connection:
        rows = connection.execute(LIST, bind(g.user_id, per_page, (page - 1) * per_page)).mappings().all()
    total = rows[0]["total"]
    items = [as_item(row) for row in rows if row["id"] is not None]
    return jsonify(bookmarks=items, total=total, page=page, per_page=per_page,
                   pages=-(-total // per_page))


@app.post("/api/bookmarks")
def save():
    url = request.get_json()["url"]
    with engine.begin() as connection:
        number = connection.execute(
            text("INSERT INTO saved_content (user_id, url, url_norm, page_key, title, quality_score)"
                 " VALUES (:user, :url, :url, :url, 'Untitled Bookmark', 0) RETURNING id"),
            {"user": g.user_id, "url": url}).scalar()
        job = f"bookmark_process_{number}_{uuid.uuid4().hex[:8]}"
        connection.execute(
            text("INSERT INTO outbox (job_id, user_id, bookmark_id, url, queue)"
                 " VALUES (:job, :user, :id, :url, 'default')"),
            {"job": job, "user": g.user_id, "id": number, "url": url})
    pipe = store.pipeline()
    pipe.sadd("rq:queues", "rq:queue:default")
    pipe.hset("rq:job:" + job, mapping={"status": "queued", "data": url})
    pipe.rpush("rq:queue:default", job)
    pipe.execute()
    return jsonify(message="Bookmark saved", bookmark={"id": number, "url": url},
                   processing="background", wasDuplicate=False), 201
