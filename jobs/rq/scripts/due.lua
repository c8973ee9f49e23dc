-- due.lua - scheduled jobs whose time has come. ARGV: queue, ts, at most how many, our
-- value of the queue's scheduler lock ("": anybody's). How many were enqueued.
local queue, ts = ARGV[1], ARGV[2]
local key = 'rq:scheduled:' .. queue
local count = 0

-- Lost since we last looked (a stopped process, a stalled Redis): another one is at it.
if ARGV[4] ~= '' and call('GET', 'rq:scheduler-lock:' .. queue) ~= ARGV[4] then
    return 0
end

local due = call('ZRANGEBYSCORE', key, '0', int(now), 'WITHSCORES', 'LIMIT', '0', ARGV[3])
for i = 1, #due, 2 do
    local id = due[i]
    local own = redis.pcall('HMGET', job_key(id), 'data', 'status', 'enqueue_at_front',
                     'enqueue_at_front_on_retry', 'ended_at')
    if own[1] then
        call('ZREM', key, id)
        if own[2] ~= 'canceled' then
            local is_retry = own[4] == '1' and own[5] and own[5] ~= ''
            enqueue(id, queue, ts, own[3] == '1' or is_retry)
            count = count + 1
        end
    elseif tonumber(due[i + 1]) < now - 60 then
        -- RQ writes the entry before the hash: only an old one is an orphan (15.4).
        call('ZREM', key, id)
    end
end
return count
