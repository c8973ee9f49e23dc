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
    local own = call('HMGET', key, 'result_ttl', 'repeats_left', 'status')
    local ttl = tonumber(own[1] or '') or default_result_ttl
    local repeats = tonumber(own[2] or '') or 0

    call('HSET', key, 'status', 'finished', 'ended_at', ts, 'last_heartbeat', ts)
    release_dependents(id, 'finished', ts)
    if ttl ~= 0 then
        add_result(id, '1', 'return_value', text, run, ttl)
        call('ZADD', 'rq:finished:' .. queue, ttl > 0 and int(now + ttl) or '+inf', id)
    end
    if own[3] == 'canceled' then
        -- Too late to be spared this run, in time for the others.
        call('ZREM', 'rq:canceled:' .. queue, id)
        repeats = 0
    end
    if repeats > 0 then
        repeat_job(repeats, ts)
    else
        lifetime(id, ttl)
    end
end

-- Canceled while it ran, a job that has not come to an end stays canceled.
local function is_canceled()
    return call('HGET', key, 'status') == 'canceled'
end

local function put_later()
    call('HSET', key, 'status', 'scheduled', 'ended_at', ts)
    call('ZADD', 'rq:scheduled:' .. queue, int(now + delay), id)
end

local function decide()
    -- A delivery count is of one attempt; whatever ends here was delivered.
    if outcome ~= 'back' then
        call('HDEL', key, 'fm_deliveries')
    end
    if outcome == 'success' then
        succeed()
    elseif (outcome == 'later' or outcome == 'back') and is_canceled() then
        return
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

local function count()
    if outcome == 'success' then
        call('HINCRBY', record, 'successful_job_count', 1)
    elseif outcome == 'failed' or outcome == 'final' or outcome == 'stopped' then
        call('HINCRBY', record, 'failed_job_count', 1)
    end
    call('HINCRBYFLOAT', record, 'total_working_time', worked)
end

local function leave_worker()
    if call('HGET', record, 'fm_execution') ~= execution then
        return
    end
    count()
    call('HDEL', record, 'current_job', 'fm_execution')
    call('HSET', record, 'current_job_working_time', '0', 'state', 'idle',
         'last_heartbeat', ts)
    call('EXPIRE', record, '480')
end

local has_job = call('HEXISTS', key, 'data') == 1
local mine = is_mine(id, queue, worker, execution)
if mine or not has_job then
    end_execution(id, queue, worker, execution)
else
    -- Its registry entry belongs to whoever runs the job now.
    call('DEL', 'rq:execution:' .. id .. ':' .. execution)
    call('ZREM', 'rq:executions:' .. id, execution)
    call('SREM', record .. ':executions', id .. ':' .. execution)
end
if mine and has_job then
    decide()
end
leave_worker()

local answer = { mine and has_job and 'done' or 'lost' }
local next_job = { 'empty' }
if ARGV[13] ~= '' then
    next_job = claim({ worker = worker, execution = ARGV[13], ts = ts,
                       interval = tonumber(ARGV[14]), queues = rest_of_argv(15) })
end
for _, item in ipairs(next_job) do
    answer[#answer + 1] = item
end
return answer
