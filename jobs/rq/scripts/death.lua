-- death.lua - ARGV: worker, ts. A worker leaves; a job it still holds in the books (an
-- answer that got lost, an end that could not be told) goes back to its queue.
local worker, ts = ARGV[1], ARGV[2]
local id = call('HGET', 'rq:worker:' .. worker, 'current_job')

bury(worker, ts)
if not id then
    return 1
end
local job = call('HMGET', job_key(id), 'data', 'origin', 'worker_name')
local queue = job[2] or ''
if job[1] and job[3] == worker and call('ZREM', 'rq:wip:' .. queue, id) == 1 then
    end_all_executions(id)
    call('HSET', job_key(id), 'status', 'queued', 'started_at', '')
    push(queue, id, true)
end
return 1
