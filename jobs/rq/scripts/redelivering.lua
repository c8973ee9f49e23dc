-- redelivering.lua - redeliver(): a job whose worker died goes to the head of its
-- queue, retries untouched; a job that kills its workers ends as failed.
--
-- d: max, exc (zlib, base64), run (of the last delivery), failure_ttl.
-- The answer: "redelivered" or "failed", and the count of deliveries.
local function redeliver(id, queue, ts, d)
    local key = job_key(id)
    local deliveries = (tonumber(call('HGET', key, 'fm_deliveries') or '') or 0) + 1

    if deliveries >= d.max then
        -- Whoever requeues it, RQ too, means it to start afresh.
        call('HDEL', key, 'fm_deliveries')
        fail(id, queue, 'failed', ts, d.exc, d.run, d.failure_ttl)
        return 'failed', int(deliveries)
    end
    call('HSET', key, 'status', 'queued', 'started_at', '', 'fm_deliveries', int(deliveries))
    push(queue, id, true)
    return 'redelivered', int(deliveries)
end

-- What a worker held that is out of the books: redelivered, or without redelivery a
-- failed attempt. d: may_redeliver, exc_died, and as above.
local function give_back(id, queue, ts, d)
    if d.may_redeliver then
        return redeliver(id, queue, ts, d)
    end
    call('HDEL', job_key(id), 'fm_deliveries')
    if retry(id, queue, ts) then
        return 'retried', '0'
    end
    fail(id, queue, 'failed', ts, d.exc_died, d.run, d.failure_ttl)
    return 'failed', '0'
end
