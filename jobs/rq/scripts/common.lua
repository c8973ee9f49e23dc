-- common.lua - how jobs move on: into their queue, to a retry, to their end, and the jobs
-- that waited for them.
local YEAR = 31536000

local function push(queue, id, at_front)
    call('SADD', 'rq:queues', 'rq:queue:' .. queue)
    call(at_front and 'LPUSH' or 'RPUSH', 'rq:queue:' .. queue, id)
end

-- A job whose hash exists goes back into its queue (protocol 7.1).
local function enqueue(id, queue, ts, at_front)
    local key = job_key(id)
    local ttl = tonumber(call('HGET', key, 'ttl') or '')

    call('HSET', key, 'status', 'queued', 'enqueued_at', ts, 'origin', queue)
    call('HSETNX', key, 'timeout', '180')
    if ttl and ttl > 0 then
        lifetime(id, ttl)
    end
    push(queue, id, at_front)
end

local WAITS_FOR_NOBODY = { queued = true, started = true, scheduled = true,
                           finished = true, failed = true, stopped = true,
                           canceled = true }

-- 7.7, for one dependent of `id`, which has just become `status`. One that was sent on
-- its way by hand meanwhile is not sent again.
local function is_ready(dependent, id, status)
    local own = call('HMGET', job_key(dependent), 'status', 'allow_dependency_failures')
    local allows_failure = own[2] == '1'

    if WAITS_FOR_NOBODY[own[1] or ''] or (status ~= 'finished' and not allows_failure) then
        return false
    end
    for _, other in ipairs(call('SMEMBERS', 'rq:job::' .. dependent .. ':dependencies')) do
        if other ~= id then
            local state = redis.pcall('HGET', job_key(other), 'status')
            if state and state ~= 'finished' and
               not (state == 'failed' and allows_failure) then
                return false
            end
        end
    end
    return true
end

-- Stopped and canceled jobs release nobody (as RQ 2.8 and later). Whether there were any.
local function release_dependents(id, status, ts)
    local key = job_key(id) .. ':dependents'

    if status ~= 'finished' and status ~= 'failed' then
        return true
    end
    local dependents = call('SMEMBERS', key)
    for _, dependent in ipairs(dependents) do
        local hash = job_key(dependent)
        if redis.pcall('HEXISTS', hash, 'data') == 1 and is_ready(dependent, id, status) then
            local own = call('HMGET', hash, 'origin', 'enqueue_at_front')
            local queue = own[1] or 'default'
            call('ZREM', 'rq:deferred:' .. queue, dependent)
            enqueue(dependent, queue, ts, own[2] == '1')
            call('SREM', key, dependent)
        end
    end
    return #dependents > 0
end

-- Every execution of a job whose worker is gone.
local function end_all_executions(id)
    for _, execution in ipairs(call('ZRANGE', 'rq:executions:' .. id, 0, -1)) do
        call('DEL', 'rq:execution:' .. id .. ':' .. execution)
    end
    call('DEL', 'rq:executions:' .. id)
end

-- 7.8: the end of a job that will not be tried again. `status`: failed or stopped.
local function fail(id, queue, status, ts, exc, run, default_ttl)
    local key = job_key(id)
    local own = call('HMGET', key, 'failure_ttl', 'status')
    local ttl = tonumber(own[1] or '') or default_ttl or YEAR

    if own[2] == 'canceled' then
        call('ZREM', 'rq:canceled:' .. queue, id)
    end
    call('HSET', key, 'status', status, 'ended_at', ts, 'last_heartbeat', ts)
    if ttl ~= 0 then
        add_result(id, '2', 'exc_string', exc, run, ttl)
        -- Kept for ever is the score -1 here, not +inf.
        call('ZADD', 'rq:failed:' .. queue, ttl > 0 and int(now + ttl) or '-1', id)
    end
    release_dependents(id, status, ts)
    lifetime(id, ttl)
end

-- 7.9: true when the job has a retry left and is on its way to it.
local function retry(id, queue, ts)
    local key = job_key(id)
    local own = call('HMGET', key, 'retries_left', 'retry_intervals', 'status',
                     'enqueue_at_front_on_retry')
    local left = tonumber(own[1] or '') or 0
    local interval = 0

    if left <= 0 or own[3] == 'canceled' then
        return false
    end
    local is_list, intervals = pcall(cjson.decode, own[2] or '[]')
    if is_list and type(intervals) == 'table' and #intervals > 0 then
        interval = tonumber(intervals[math.max(#intervals - left, 0) + 1]) or 0
    end
    call('HSET', key, 'retries_left', int(left - 1), 'ended_at', ts)
    if interval > 0 then
        call('HSET', key, 'status', 'scheduled')
        call('ZADD', 'rq:scheduled:' .. queue, int(now + interval), id)
    else
        enqueue(id, queue, ts, own[4] == '1')
    end
    return true
end
