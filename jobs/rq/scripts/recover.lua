-- recover.lua - a worker died: its record says so from now on, and the job it held
-- is given back in the same step.
--
-- ARGV: worker, ts, redeliver ("1": yes), max deliveries, errors (zlib, base64):
-- too many deliveries, timed out, died (redeliver off); default failure TTL.
-- The answer: "none", or one of "redelivered", "failed", "retried", then the job's id
-- and how often it was delivered.
local worker, ts, may_redeliver, max = ARGV[1], ARGV[2], ARGV[3] == '1', tonumber(ARGV[4])
local record = 'rq:worker:' .. worker
local own = call('HMGET', record, 'current_job', 'fm_execution', 'death')
local id, execution = own[1], own[2]

if call('HEXISTS', record, 'birth') == 0 or own[3] then
    return { 'none' }
end
bury(worker, ts)
if not id then
    return { 'none' }
end

local job = call('HMGET', job_key(id), 'data', 'origin', 'worker_name', 'timeout')
local queue = job[2] or ''
-- A cleaner, or the job's deleter, was faster; or the job's outcome is in the books.
if not job[1] or job[3] ~= worker or not call('ZSCORE', 'rq:wip:' .. queue, id) then
    return { 'none' }
end

local started = tonumber(call('HGET', 'rq:execution:' .. id .. ':' .. (execution or ''),
                              'created_at') or '') or now
local timeout = tonumber(job[4] or '') or 180
local run = { worker = worker, execution = execution or '',
              started = string.format('%.6f', started) }
call('ZREM', 'rq:wip:' .. queue, id)
end_all_executions(id)

local function fail_attempt(exc)
    if retry(id, queue, ts) then
        return { 'retried', id, '0' }
    end
    fail(id, queue, 'failed', ts, exc, run, tonumber(ARGV[8]))
    return { 'failed', id, '0' }
end

-- Killed for overrunning its time: an ordinary failed attempt, not a crash.
if timeout > 0 and tonumber(now_float) - started >= timeout then
    return fail_attempt(ARGV[6])
end
if not may_redeliver then
    return fail_attempt(ARGV[7])
end
local what, deliveries = redeliver(id, queue, ts, { max = max, exc = ARGV[5], run = run,
                                                    failure_ttl = tonumber(ARGV[8]) })
return { what, id, deliveries }
