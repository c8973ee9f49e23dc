-- finish.lua - what became of a job, and the next one, in one step.
--
-- ARGV: worker, execution, id, queue, outcome, ts, seconds worked, text (base64:
-- the result's value, or the error), default result TTL, default failure TTL,
-- started (float), delay, next execution ("": claim nothing), heartbeat interval,
-- queues ...
-- Outcomes: success; failed (retried while retries are left); final; stopped;
-- later (back for `delay` seconds, no retry used); back (to the head at once).
-- The answer: "done", or "lost" when somebody else has decided about the job, and
-- then claim()'s.
local worker, execution, id, queue = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local outcome, ts, worked, text = ARGV[5], ARGV[6], ARGV[7], ARGV[8]
local default_result_ttl, default_failure_ttl = tonumber(ARGV[9]), tonumber(ARGV[10])
local delay = tonumber(ARGV[12])
local record = 'rq:worker:' .. worker
local run = { worker = worker, execution = execution, started = ARGV[11] }
local key = job_key(id)
local own = read_worker(worker)

local job_worker, status, job_ttl, repeats, dependencies, deliveries = unpack(
    call('HMGET', key, 'worker_name', 'status', 'result_ttl', 'repeats_left', 'dependency_ids',
         'fm_deliveries'))

-- 7.11: repeats walk their list from its end; the hash must outlive the wait.
local function repeat_job(left, ts_now)
    local own = call('HMGET', key, 'repeat_intervals', 'enqueue_at_front')
    local interval = 0

    local is_list, intervals = pcall(cjson.decode, own[1] or '[]')
    if is_list and type(intervals) == 'table' and #intervals > 0 then
        interval = tonumber(intervals[math.min(left, #intervals)]) or 0
    end
    call('HSET', key, 'repeats_left', int(left - 1))
    if interval > 0 then
        call('HSET', key, 'status', 'scheduled')
        call('ZADD', 'rq:scheduled:' .. queue, int(now + interval), id)
    else
        enqueue(id, queue, ts_now, own[2] == '1')
    end
end

local function succeed()
    local ttl = tonumber(job_ttl or '') or default_result_ttl
    local left = tonumber(repeats or '') or 0

    call('HSET', key, 'status', 'finished', 'ended_at', ts, 'last_heartbeat', ts)
    local has_dependents = release_dependents(id, 'finished', ts)
    if ttl ~= 0 then
        add_result(id, '1', 'return_value', text, run, ttl)
        call('ZADD', 'rq:finished:' .. queue, ttl > 0 and int(now + ttl) or '+inf', id)
    end
    if status == 'canceled' then
        -- Too late to be spared this run, in time for the others.
        call('ZREM', 'rq:canceled:' .. queue, id)
        left = 0
    end
    if left > 0 then
        repeat_job(left, ts)
    else
        lifetime(id, ttl, not has_dependents and not dependencies)
    end
end

local function put_later()
    call('HSET', key, 'status', 'scheduled', 'ended_at', ts)
    call('ZADD', 'rq:scheduled:' .. queue, int(now + delay), id)
end

local function decide()
    -- A delivery count is of one attempt; whatever ends here was delivered.
    if outcome ~= 'back' and deliveries then
        call('HDEL', key, 'fm_deliveries')
    end
    if outcome == 'success' then
        succeed()
    elseif (outcome == 'later' or outcome == 'back') and status == 'canceled' then
        return -- canceled while it ran, and not at its end: it stays so
    elseif outcome == 'later' then
        put_later()
    elseif outcome == 'back' then
        call('HSET', key, 'started_at', '')
        enqueue(id, queue, ts, true)
    elseif outcome == 'stopped' then
        fail(id, queue, 'stopped', ts, text, run, default_failure_ttl)
    elseif outcome == 'final' or not retry(id, queue, ts) then
        fail(id, queue, 'failed', ts, text, run, default_failure_ttl)
    end
end

-- Takes this execution out of the books; whether it was the one that decides about
-- the job (15.2, 15.3). A job with our name has its data, too: we claimed it.
local function take_out()
    local is_listed = call('ZREM', 'rq:executions:' .. id, execution) == 1

    if is_listed and job_worker == worker then
        -- A worker runs one job at a time, so the set holds nothing else.
        call('DEL', 'rq:execution:' .. id .. ':' .. execution, record .. ':executions')
        return call('ZREM', 'rq:wip:' .. queue, id) == 1
    end
    call('DEL', 'rq:execution:' .. id .. ':' .. execution)
    call('SREM', record .. ':executions', id .. ':' .. execution)
    -- The registry's entry belongs to whoever runs the job now, or to nobody.
    if call('HEXISTS', key, 'data') == 0 then
        call('ZREM', 'rq:wip:' .. queue, id)
    end
    return false
end

-- The worker's counters as they are from now on.
local function counted()
    local list = { 'total_working_time',
                   string.format('%.6f', (tonumber(own.worked or '') or 0) + tonumber(worked)) }

    if outcome == 'success' then
        list[3], list[4] = 'successful_job_count', int((tonumber(own.successful or '') or 0) + 1)
    elseif outcome == 'failed' or outcome == 'final' or outcome == 'stopped' then
        local failed = call('HGET', record, 'failed_job_count')
        list[3], list[4] = 'failed_job_count', int((tonumber(failed or '') or 0) + 1)
    end
    return list
end

local function rest(counts)
    call('HDEL', record, 'current_job', 'fm_execution')
    call('HSET', record, 'current_job_working_time', '0', 'state', 'idle',
         'last_heartbeat', ts, unpack(counts))
    call('EXPIRE', record, '480')
end

local decides = take_out()
if decides then
    decide()
end

local answer = { decides and 'done' or 'lost' }
-- Not so when this call is a repetition: then the counters are written already.
local is_current = own.execution == execution
local counts = is_current and counted() or {}
local has_next = false
if ARGV[13] ~= '' then
    has_next = claim({ worker = worker, execution = ARGV[13], ts = ts,
                       interval = tonumber(ARGV[14]), queues_at = 15, own = own,
                       counted = counts }, answer)
else
    answer[2] = 'empty'
end
if is_current and not has_next then
    rest(counts)
end
return answer
