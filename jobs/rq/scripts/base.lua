-- base.lua - what every script begins with, and all that a plain job needs.
--
-- Times: scores and comparisons use Redis' own clock; `ts`, the text form that
-- job and worker hashes hold, comes from the caller. A job hash is only ever
-- changed where it is known to exist: an HSET on a deleted one would leave a
-- stub without data that nobody cleans up.
--
-- A key of a job may hold something else (somebody's mistake), for which a command fails;
-- a script that fails halfway is not undone, and its caller would come to the same id
-- again and again. So where ids come from others, a job is read by redis.pcall: what is
-- no hash has no fields.
--
-- To make a function costs as much as a command, for each script run makes all of its
-- own anew: here are few, and a job's end makes those of common.lua only when it
-- needs them.

local call = redis.call
local time = call('TIME')
local now = tonumber(time[1])
local now_float = string.format('%d.%06d', now, tonumber(time[2]))

-- A number that Redis takes, whatever stood in a job: a TTL times 1,000 must fit as well.
local function int(n)
    if n > 1e15 then
        n = 1e15
    elseif not (n > -1e15) then -- nor is it a number
        n = -1e15
    end
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

-- Whether this execution still decides what becomes of the job (15.2, 15.3).
local function is_mine(id, queue, worker, execution)
    return call('ZSCORE', 'rq:wip:' .. queue, id) and
           call('ZSCORE', 'rq:executions:' .. id, execution) and
           redis.pcall('HGET', job_key(id), 'worker_name') == worker
end
