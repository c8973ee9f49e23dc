-- requeue.lua - a failed job gets another chance (7.15). ARGV: queue, id, ts.
-- 1: queued again; 0: it was not in the failed registry, or has no data any more.
local queue, id, ts = ARGV[1], ARGV[2], ARGV[3]

if call('ZREM', 'rq:failed:' .. queue, id) == 0 then
    return 0
end
if call('HEXISTS', job_key(id), 'data') == 0 then
    return 0
end
call('HSET', job_key(id), 'started_at', '', 'ended_at', '')
call('HDEL', job_key(id), 'fm_deliveries')
enqueue(id, queue, ts, false)
return 1
