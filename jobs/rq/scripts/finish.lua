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
--
-- A job is plain when it succeeded, was delivered once, was not canceled meanwhile, is not
-- repeated and has nobody that waits for it: the most, and all that is made quick here.
local worker, execution, id, queue = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local outcome, ts = ARGV[5], ARGV[6]
local record, key = 'rq:worker:' .. worker, job_key(id)
local own = read_worker(worker)

local function read_job()
    local found = redis.pcall('HMGET', key, 'worker_name', 'status', 'result_ttl', 'repeats_left',
                       'dependency_ids', 'fm_deliveries')

    return { worker = found[1], status = found[2], repeats_left = found[4],
             has_dependencies = found[5], deliveries = found[6],
             ttl = tonumber(found[3] or ARGV[9]) or tonumber(ARGV[9]) }
end

-- Takes this execution out of the books; whether it was the one that decides about
-- the job (15.2, 15.3). A job with our name has its data, too: we claimed it.
local function take_out(job)
    local is_listed = call('ZREM', 'rq:executions:' .. id, execution) == 1

    if is_listed and job.worker == worker then
        -- A worker runs one job at a time, so the set holds nothing else.
        call('DEL', 'rq:execution:' .. id .. ':' .. execution, record .. ':executions')
        return call('ZREM', 'rq:wip:' .. queue, id) == 1
    end
    call('DEL', 'rq:execution:' .. id .. ':' .. execution)
    call('SREM', record .. ':executions', id .. ':' .. execution)
    -- The registry's entry belongs to whoever runs the job now, or to nobody.
    if redis.pcall('HEXISTS', key, 'data') ~= 1 then
        call('ZREM', 'rq:wip:' .. queue, id)
    end
    return false
end

local function succeed(ttl)
    call('HSET', key, 'status', 'finished', 'ended_at', ts, 'last_heartbeat', ts)
    if ttl ~= 0 then
        add_result(id, '1', 'return_value', ARGV[8],
                   { worker = worker, execution = execution, started = ARGV[11] }, ttl)
        call('ZADD', 'rq:finished:' .. queue, ttl > 0 and int(now + ttl) or '+inf', id)
    end
end

local function is_plain(job)
    return outcome == 'success' and not job.repeats_left and not job.deliveries and
           job.status ~= 'canceled' and call('EXISTS', key .. ':dependents') == 0
end

-- The worker's counters as they are from now on.
local function counted()
    local list = { 'total_working_time',
                   string.format('%.6f', (tonumber(own.worked or '') or 0) + tonumber(ARGV[7])) }

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

local job = read_job()
local decides = take_out(job)
if decides and outcome == 'success' then
    succeed(job.ttl)
end
if decides and is_plain(job) then
    lifetime(id, job.ttl, not job.has_dependencies)
elseif decides then
    settle(job)
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
