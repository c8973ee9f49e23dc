-- cancel.lua - takes a waiting job out. ARGV: queue, id, "1" to delete it wholly.
-- 1: it was waiting and no longer does; 0: it was not.
local queue, id, wholly = ARGV[1], ARGV[2], ARGV[3] == '1'
local found = call('LREM', 'rq:queue:' .. queue, 1, id) +
              call('ZREM', 'rq:scheduled:' .. queue, id)

if not wholly then
    found = found + call('ZREM', 'rq:deferred:' .. queue, id)
end
if found == 0 then
    return 0
end
if wholly then
    lifetime(id, 0)
elseif redis.pcall('HEXISTS', job_key(id), 'data') == 1 then
    call('HSET', job_key(id), 'status', 'canceled')
    call('ZADD', 'rq:canceled:' .. queue, int(now), id)
end
return 1
