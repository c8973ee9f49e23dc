-- redelivering.lua - redeliver(): a job whose worker died goes to the head of its
-- queue, retries untouched; a job that kills its workers ends as failed.
--
-- d: max, exc (zlib, base64), run (of the last delivery), failure_ttl.
-- The answer: "redelivered" or "failed", and the count of deliveries.
local function redeliver(id, queue, ts, d)
    local deliveries = call('HINCRBY', job_key(id), 'fm_deliveries', 1)

    if deliveries >= d.max then
        fail(id, queue, 'failed', ts, d.exc, d.run, d.failure_ttl)
        return 'failed', int(deliveries)
    end
    call('HSET', job_key(id), 'status', 'queued', 'started_at', '')
    push(queue, id, true)
    return 'redelivered', int(deliveries)
end
