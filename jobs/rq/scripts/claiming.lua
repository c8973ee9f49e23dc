-- claiming.lua - claim(): the next job of the first queue that has one, started.
--
-- c: worker, execution (its id, chosen by the caller), ts, interval, queues. An entry of
-- `queues` is a queue's name, or ",queue,id": that job alone, if it still waits there (no
-- queue's name holds a comma).
-- The answer is a list of texts: "job" and what the consumer needs to run it, or
-- one of "empty", "suspended", "unregistered". Asked twice for the same
-- execution (the first answer was lost), it gives the same job again.

-- What a consumer wants to know; the order is rq/claim.c's.
local FIELDS = { 'data', 'timeout', 'retries_left', 'meta', 'enqueued_at', 'origin' }

local function claimed(id, queue, fields)
    local answer = { 'job', id, queue }

    for i = 1, #FIELDS do
        answer[#answer + 1] = fields[i] or ''
    end
    return answer
end

local function start(c, id, queue, timeout)
    local worker = 'rq:worker:' .. c.worker
    local record = 'rq:execution:' .. id .. ':' .. c.execution
    local ttl = heartbeat_ttl(timeout, 0, c.interval)

    call('HSET', worker, 'state', 'busy', 'current_job', id, 'current_job_working_time', '0',
         'last_heartbeat', c.ts, 'fm_execution', c.execution)
    call('EXPIRE', worker, int(c.interval + 60))
    call('HSET', job_key(id), 'status', 'started', 'started_at', c.ts,
         'last_heartbeat', c.ts, 'worker_name', c.worker, 'origin', queue)
    call('PERSIST', job_key(id))
    call('HSET', record, 'id', c.execution, 'job_id', id, 'worker_name', c.worker,
         'created_at', now_float, 'fm_home', c.home)
    call('SADD', worker .. ':executions', id .. ':' .. c.execution)
    call('ZADD', 'rq:wip:' .. queue, int(now + ttl), id)
    write_heartbeat(id, queue, c.worker, c.execution, ttl, c.ts, 'XX')
end

local function claim_again(c)
    local own = call('HMGET', 'rq:worker:' .. c.worker, 'current_job', 'fm_execution')

    if not own[1] or own[2] ~= c.execution then
        return nil
    end
    local fields = call('HMGET', job_key(own[1]), unpack(FIELDS))
    if not fields[1] or not is_mine(own[1], fields[6], c.worker, c.execution) then
        return nil
    end
    return claimed(own[1], fields[6], fields)
end

-- Starts a job whose id has just been taken out of `queue`. One without data or canceled
-- stays dropped; RQ would run the latter (15.7).
local function take(c, queue, id)
    local fields = call('HMGET', job_key(id), unpack(FIELDS))
    local status = call('HGET', job_key(id), 'status')

    if not fields[1] or status == 'canceled' then
        return nil
    end
    local origin = fields[6] and fields[6] ~= '' and fields[6] or queue
    start(c, id, origin, tonumber(fields[2] or '') or 180)
    return claimed(id, origin, fields)
end

local function claim_from(c, queue)
    for _ = 1, 1000 do
        local id = call('LPOP', 'rq:queue:' .. queue)
        if not id then
            return nil
        end
        local job = take(c, queue, id)
        if job then
            return job
        end
    end
    return nil
end

-- The status saves the walk through a long list for what somebody else has taken.
local function claim_by_id(c, queue, id)
    if call('HGET', job_key(id), 'status') == 'started' or
       call('LREM', 'rq:queue:' .. queue, 1, id) == 0 then
        return nil
    end
    return take(c, queue, id)
end

local function claim_entry(c, entry)
    if string.byte(entry) ~= 44 then
        return claim_from(c, entry)
    end
    local queue, id = string.match(entry, '^,([^,]*),(.*)$')
    return id and claim_by_id(c, queue, id)
end

local function claim(c)
    local own = call('HMGET', 'rq:worker:' .. c.worker, 'birth', 'death', 'fm_home')

    -- A process that is dead in the books must not get a job: its successor has
    -- already taken back what it held.
    if not own[1] or own[2] then
        return { 'unregistered' }
    end
    c.home = own[3] or ''
    local again = claim_again(c)
    if again then
        return again
    end
    if call('EXISTS', 'rq:suspended') == 1 then
        return { 'suspended' }
    end
    for _, entry in ipairs(c.queues) do
        local job = claim_entry(c, entry)
        if job then
            return job
        end
    end
    return { 'empty' }
end

local function rest_of_argv(from)
    local list = {}

    for i = from, #ARGV do
        list[#list + 1] = ARGV[i]
    end
    return list
end
