-- waiting.lua - ids that wait for nothing any more leave the deferred and the canceled
-- registry (15.9, 15.13). ARGV: queue, registry ("deferred" or "canceled"), cursor, ts.
--
-- Of a job that expired or was deleted RQ leaves the id for ever. And a job that allows
-- failures but was deferred when its dependency had failed already is released by
-- nobody in RQ: here it is, once none of its dependencies can still change. The
-- answer: the next cursor ("0": done), how many ids went, how many jobs were released.
local queue, registry, ts = ARGV[1], ARGV[2], ARGV[4]
local key = 'rq:' .. registry .. ':' .. queue
local page = call('ZSCAN', key, ARGV[3], 'COUNT', '200')
local gone, released = 0, 0

-- The last of its dependencies to end is long in the books; none is missing, which
-- might be its deleter's way of holding the others back.
local function is_overlooked(id)
    local own = redis.pcall('HMGET', job_key(id), 'status', 'allow_dependency_failures')
    local dependencies = call('SMEMBERS', 'rq:job::' .. id .. ':dependencies')

    if own[1] ~= 'deferred' or own[2] ~= '1' or #dependencies == 0 then
        return false
    end
    for _, other in ipairs(dependencies) do
        local status = redis.pcall('HGET', job_key(other), 'status')
        if status ~= 'finished' and status ~= 'failed' then
            return false
        end
    end
    return true
end

local function release(id)
    local own = call('HMGET', job_key(id), 'origin', 'enqueue_at_front')

    call('ZREM', key, id)
    for _, other in ipairs(call('SMEMBERS', 'rq:job::' .. id .. ':dependencies')) do
        call('SREM', job_key(other) .. ':dependents', id)
    end
    enqueue(id, own[1] and own[1] ~= '' and own[1] or queue, ts, own[2] == '1')
    released = released + 1
end

for i = 1, #page[2], 2 do
    local id = page[2][i]
    if call('EXISTS', job_key(id)) == 0 then
        gone = gone + call('ZREM', key, id)
    elseif registry == 'deferred' and is_overlooked(id) then
        release(id)
    end
end
return { page[1], gone, released }
