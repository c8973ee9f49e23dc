-- requeue.lua - failed jobs get another chance (7.15). ARGV: queue, ts, ids ...
-- How many were queued again; one that was not in the failed registry, or has no data
-- any more, is not.
local queue, ts = ARGV[1], ARGV[2]
local count = 0

for i = 3, #ARGV do
    local id = ARGV[i]
    if call('ZREM', 'rq:failed:' .. queue, id) == 1 and
       redis.pcall('HEXISTS', job_key(id), 'data') == 1 then
        call('HSET', job_key(id), 'started_at', '', 'ended_at', '')
        call('HDEL', job_key(id), 'fm_deliveries')
        enqueue(id, queue, ts, false)
        count = count + 1
    end
end
return count
