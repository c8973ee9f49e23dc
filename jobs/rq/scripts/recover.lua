-- recover.lua - a worker died: its record says so from now on, and the job it held
-- is given back in the same step.
--
-- ARGV: worker, ts, redeliver ("1": yes), max deliveries, errors (zlib, base64):
-- too many deliveries, died; default failure TTL; "1": it was killed because its job
-- had overrun its time, an ordinary failed attempt and not a crash (then `died` is the
-- error of that).
-- The answer: "none", or one of "redelivered", "failed", "retried", then the job's id
-- and how often it was delivered.
local worker, ts = ARGV[1], ARGV[2]
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

local job = call('HMGET', job_key(id), 'data', 'origin', 'worker_name', 'status')
local queue = job[2] or ''
-- A cleaner, or the job's deleter, was faster; or the job's outcome is in the books.
if not job[1] or job[3] ~= worker or call('ZREM', 'rq:wip:' .. queue, id) == 0 then
    return { 'none' }
end

local started = call('HGET', 'rq:execution:' .. id .. ':' .. (execution or ''), 'created_at')
end_all_executions(id)
-- Canceled while it ran: nobody wants it any more.
if job[4] ~= 'started' then
    return { 'none' }
end
local what, deliveries = give_back(id, queue, ts, {
    may_redeliver = ARGV[3] == '1' and ARGV[8] ~= '1', max = tonumber(ARGV[4]),
    exc = ARGV[5], exc_died = ARGV[6], failure_ttl = tonumber(ARGV[7]),
    run = { worker = worker, execution = execution or '', started = started or now_float } })
return { what, id, deliveries }
