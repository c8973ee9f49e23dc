-- upkeep.lua - what is over goes out of a queue's registries; workers without a
-- record and ids stuck in the intermediate list too (section 8). ARGV: queue.
local queue = ARGV[1]
local list = 'rq:queue:' .. queue .. ':intermediate'
local seen_prefix = list .. ':first_seen:'
local requeued = 0

call('ZREMRANGEBYSCORE', 'rq:finished:' .. queue, '0', int(now))
call('ZREMRANGEBYSCORE', 'rq:failed:' .. queue, '0', int(now))

for _, record in ipairs(call('SMEMBERS', 'rq:workers:' .. queue)) do
    if call('EXISTS', record) == 0 then
        call('SREM', 'rq:workers:' .. queue, record)
        call('SREM', 'rq:workers', record)
    end
end

local function is_running(id)
    return call('ZSCORE', 'rq:wip:' .. queue, id) or
           #call('ZRANGE', 'rq:executions:' .. id, 0, 0) > 0
end

-- A job there never started, so it goes back to its queue; RQ fails it.
for _, id in ipairs(call('LRANGE', list, 0, -1)) do
    local seen = call('GET', seen_prefix .. id)
    if redis.pcall('HEXISTS', job_key(id), 'data') ~= 1 then
        call('LREM', list, 1, id)
        call('DEL', seen_prefix .. id)
    elseif is_running(id) then
        call('DEL', seen_prefix .. id)
    elseif not seen then
        call('SET', seen_prefix .. id, now_float, 'EX', '86400')
    elseif now - (tonumber(seen) or now) > 60 then
        if call('LREM', list, 1, id) > 0 and
           call('HGET', job_key(id), 'status') == 'queued' then
            push(queue, id, true)
            requeued = requeued + 1
        end
        call('DEL', seen_prefix .. id)
    end
end
return requeued
