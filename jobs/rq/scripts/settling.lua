-- settling.lua - the rest of a job's end, unless it is plain (finish.lua's text says what
-- that is). The body of settle(job); scripts.c puts common.lua before it.
local worker, execution, id, queue = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local outcome, ts, text = ARGV[5], ARGV[6], ARGV[8]
local run = { worker = worker, execution = execution, started = ARGV[11] }
local default_failure_ttl = tonumber(ARGV[10])
local delay = tonumber(ARGV[12])
local key = job_key(id)
local is_canceled = job.status == 'canceled'

-- 7.11: repeats walk their list from its end.
local function repeat_job(left)
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
        enqueue(id, queue, ts, own[2] == '1')
    end
end

-- What is in the result and the registry already is the same for all that succeed.
local function follow_success()
    local left = tonumber(job.repeats_left or '') or 0

    release_dependents(id, 'finished', ts)
    if is_canceled then
        -- Too late to be spared this run, in time for the others.
        call('ZREM', 'rq:canceled:' .. queue, id)
        left = 0
    end
    if left > 0 then
        repeat_job(left) -- the hash must outlive the wait
    else
        lifetime(id, job.ttl)
    end
end

-- A delivery count is of one attempt; whatever ends here was delivered.
if outcome ~= 'back' and job.deliveries then
    call('HDEL', key, 'fm_deliveries')
end
if outcome == 'success' then
    follow_success()
elseif (outcome == 'later' or outcome == 'back') and is_canceled then
    return -- canceled while it ran, and not at its end: it stays so
elseif outcome == 'later' then
    call('HSET', key, 'status', 'scheduled', 'ended_at', ts)
    call('ZADD', 'rq:scheduled:' .. queue, int(now + delay), id)
elseif outcome == 'back' then
    call('HSET', key, 'started_at', '')
    enqueue(id, queue, ts, true)
elseif outcome == 'stopped' then
    fail(id, queue, 'stopped', ts, text, run, default_failure_ttl)
elseif outcome == 'final' or not retry(id, queue, ts) then
    fail(id, queue, 'failed', ts, text, run, default_failure_ttl)
end
