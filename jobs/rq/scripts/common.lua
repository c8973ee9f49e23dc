-- common.lua - what the other scripts share; scripts.c puts it in front of each.
--
-- Times: scores and comparisons use Redis' own clock; `ts`, the text form that
-- job and worker hashes hold, comes from the caller. A job hash is only ever
-- changed where it is known to exist: an HSET on a deleted one would leave a
-- stub without data that nobody cleans up.

local call = redis.call
local time = call('TIME')
local now = tonumber(time[1])
local now_float = string.format('%d.%06d', now, tonumber(time[2]))

local YEAR = 31536000

local function int(n)
    return string.format('%d', n)
end

local function job_key(id)
    return 'rq:job:' .. id
end

-- The three keys of a job live and go together. 0: at once, -1: never. `is_alone`: it
-- is known to have neither dependents nor dependencies, so there is but one key.
local function lifetime(id, seconds, is_alone)
    local key = job_key(id)

    if seconds == 0 then
        call('DEL', key, key .. ':dependents', 'rq:job::' .. id .. ':dependencies')
    elseif seconds > 0 then
        call('EXPIRE', key, int(seconds))
        if not is_alone then
            call('EXPIRE', key .. ':dependents', int(seconds))
            call('EXPIRE', 'rq:job::' .. id .. ':dependencies', int(seconds))
        end
    end
end

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
            local state = call('HGET', job_key(other), 'status')
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
        if call('HEXISTS', hash, 'data') == 1 and is_ready(dependent, id, status) then
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

-- An entry of the results stream. Its type is 1 or 2: old readers fail on others.
local function add_result(id, kind, field, value, run, ttl)
    local key = 'rq:results:' .. id
    local entry = { 'XADD', key, 'MAXLEN', '~', '10', '*', 'type', kind }
    local n = #entry

    if value ~= '' then
        entry[n + 1], entry[n + 2], n = field, value, n + 2
    end
    if run then
        entry[n + 1], entry[n + 2] = 'worker_name', run.worker
        entry[n + 3], entry[n + 4] = 'execution_id', run.execution
        entry[n + 5], entry[n + 6] = 'execution_started_at', run.started
        entry[n + 7], entry[n + 8] = 'execution_ended_at', now_float
    end
    call(unpack(entry))
    if ttl > 0 then
        call('EXPIRE', key, int(ttl))
    else
        call('PERSIST', key)
    end
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

-- How long without a heartbeat until a running job counts as abandoned (7.4).
local function heartbeat_ttl(timeout, elapsed, interval)
    if timeout > 0 then
        return math.max(math.min(timeout - elapsed, interval), 0) + 60
    end
    return interval + 60
end

-- How long the keys of a running execution live.
local function keep_execution(id, worker, execution, ttl)
    local record = 'rq:execution:' .. id .. ':' .. execution

    -- Longer than its registry entry: RQ 2 raises on an entry without a record.
    call('EXPIRE', record, int(ttl + 120))
    call('ZADD', 'rq:executions:' .. id, int(now + ttl + 60), execution)
    call('EXPIRE', 'rq:executions:' .. id, int(ttl + 60))
    call('EXPIRE', 'rq:worker:' .. worker .. ':executions', int(ttl + 60))
end

-- XX: an entry that somebody has removed must not come back.
local function write_heartbeat(id, queue, worker, execution, ttl)
    call('ZADD', 'rq:wip:' .. queue, 'XX', int(now + ttl), id)
    call('HSET', 'rq:execution:' .. id .. ':' .. execution, 'last_heartbeat', now_float)
    keep_execution(id, worker, execution, ttl)
end

-- Whether this execution still decides what becomes of the job (15.2, 15.3).
local function is_mine(id, queue, worker, execution)
    return call('ZSCORE', 'rq:wip:' .. queue, id) and
           call('ZSCORE', 'rq:executions:' .. id, execution) and
           call('HGET', job_key(id), 'worker_name') == worker
end
