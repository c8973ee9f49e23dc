-- death.lua - ARGV: worker, ts, redeliver ("1": yes), error (zlib, base64), default
-- failure TTL, the execution of its next claim. A worker leaves; a job it still holds in
-- the books (an answer that got lost, an end that could not be told) goes back to its
-- queue, or without redelivery counts as a failed attempt, since it may have run; not so
-- when its claim's answer never came.
local worker, ts = ARGV[1], ARGV[2]
local held = call('HMGET', 'rq:worker:' .. worker, 'current_job', 'fm_execution')
local id = held[1]

bury(worker, ts)
if not id then
    return 1
end
local job = call('HMGET', job_key(id), 'data', 'origin', 'worker_name', 'status')
local queue = job[2] or ''
if not job[1] or job[3] ~= worker or call('ZREM', 'rq:wip:' .. queue, id) == 0 then
    return 1
end
end_all_executions(id)
if job[4] ~= 'started' then
    return 1
end
if ARGV[3] == '1' or held[2] == ARGV[6] then
    call('HSET', job_key(id), 'status', 'queued', 'started_at', '')
    push(queue, id, true)
else
    give_back(id, queue, ts, { exc_died = ARGV[4], failure_ttl = tonumber(ARGV[5]) })
end
return 1
