-- claiming.lua - claim(): the next job of the first queue that has one, started.
--
-- c: worker, execution (its id, chosen by the caller), ts, interval, queues_at (where in
-- ARGV the queues begin); own (the worker's record as read_worker() gives it); counted
-- (fields and values to be written into it together with the job's). An entry of the
-- queues is a queue's name, or ",queue,id": that job alone, if it still waits there (no
-- queue's name holds a comma).
-- The answer, added to `answer`: "job" and what the consumer needs to run it, or one of
-- "empty", "suspended", "unregistered", "more" (a look at ids without a job that took so
-- long that others come first). Asked twice for the same execution (the
-- first answer was lost), it gives the same job again.
--
-- Every command costs far more than the fields it asks for: each record is looked at once.

-- What a consumer wants to know, in rq/claim.c's order; then what we want.
local ANSWERED = 4
local DROPPED_AT_ONCE = 1000
local FIELDS = { 'data', 'timeout', 'retries_left', 'meta', 'origin', 'status' }

local function read_worker(worker)
    local own = call('HMGET', 'rq:worker:' .. worker, 'birth', 'death', 'fm_home', 'fm_execution',
                     'successful_job_count', 'total_working_time')

    return { is_alive = own[1] and not own[2], home = own[3] or '', execution = own[4],
             successful = own[5], worked = own[6] }
end

local function claimed(answer, id, queue, fields)
    local n = #answer

    answer[n + 1], answer[n + 2], answer[n + 3] = 'job', id, queue
    for i = 1, ANSWERED do
        answer[n + 3 + i] = fields[i] or ''
    end
    return true
end

local function start(c, key, id, queue, timeout)
    local worker = 'rq:worker:' .. c.worker
    local ttl = heartbeat_ttl(timeout, 0, c.interval)

    call('HSET', worker, 'state', 'busy', 'current_job', id, 'current_job_working_time', '0',
         'last_heartbeat', c.ts, 'fm_execution', c.execution, unpack(c.counted or {}))
    call('EXPIRE', worker, int(c.interval + 60))
    call('HSET', key, 'status', 'started', 'started_at', c.ts, 'last_heartbeat', c.ts,
         'worker_name', c.worker, 'origin', queue)
    call('PERSIST', key)
    call('HSET', 'rq:execution:' .. id .. ':' .. c.execution, 'id', c.execution, 'job_id', id,
         'worker_name', c.worker, 'created_at', now_float, 'last_heartbeat', now_float,
         'fm_home', c.own.home)
    call('SADD', worker .. ':executions', id .. ':' .. c.execution)
    call('ZADD', 'rq:wip:' .. queue, int(now + ttl), id)
    keep_execution(id, c.worker, c.execution, ttl)
end

local function claim_again(c, answer)
    if c.own.execution ~= c.execution then
        return false
    end
    local id = call('HGET', 'rq:worker:' .. c.worker, 'current_job') or ''
    local fields = redis.pcall('HMGET', job_key(id), unpack(FIELDS))
    local queue = fields[5]
    return fields[1] and is_mine(id, queue, c.worker, c.execution) and
           claimed(answer, id, queue, fields)
end

-- Starts a job whose id has just been taken out of `queue`. One without data or canceled
-- stays dropped; RQ would run the latter (15.7).
local function take(c, queue, id, answer)
    local key = job_key(id)
    local fields = redis.pcall('HMGET', key, unpack(FIELDS))
    local origin = fields[5]

    if not fields[1] or fields[6] == 'canceled' then
        return false
    end
    if not origin or origin == '' then
        origin = queue
    end
    start(c, key, id, origin, tonumber(fields[2] or '') or 180)
    return claimed(answer, id, origin, fields)
end

local function claim_from(c, queue, answer)
    for _ = 1, DROPPED_AT_ONCE do
        local id = call('LPOP', 'rq:queue:' .. queue)
        if not id then
            return false
        end
        if take(c, queue, id, answer) then
            return true
        end
    end
    answer[#answer + 1] = 'more'
    return 'more'
end

-- The status saves the walk through a long list for what somebody else has taken.
local function claim_by_id(c, queue, id, answer)
    if redis.pcall('HGET', job_key(id), 'status') == 'started' or
       call('LREM', 'rq:queue:' .. queue, 1, id) == 0 then
        return false
    end
    return take(c, queue, id, answer)
end

local function claim_entry(c, entry, answer)
    if string.byte(entry) ~= 44 then
        return claim_from(c, entry, answer)
    end
    local queue, id = string.match(entry, '^,([^,]*),(.*)$')
    return id and claim_by_id(c, queue, id, answer)
end

-- Whether there is a job.
local function claim(c, answer)
    -- A process that is dead in the books must not get a job: its successor has
    -- already taken back what it held.
    if not c.own.is_alive then
        answer[#answer + 1] = 'unregistered'
        return false
    end
    if claim_again(c, answer) then
        return true
    end
    if call('EXISTS', 'rq:suspended') == 1 then
        answer[#answer + 1] = 'suspended'
        return false
    end
    for i = c.queues_at, #ARGV do
        local found = claim_entry(c, ARGV[i], answer)
        if found then
            return found ~= 'more'
        end
    end
    answer[#answer + 1] = 'empty'
    return false
end
