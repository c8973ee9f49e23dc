-- heartbeat.lua - ARGV: worker, ts, state ("": as it is), interval,
-- and while a job runs: id, queue, execution, seconds elapsed, timeout.
-- 0: the worker's record is gone (register again); 1: fine; 2: the job is no
-- longer ours. The second number says whether workers are suspended.
local worker, ts, state, interval = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local record = 'rq:worker:' .. worker
local id, queue, execution = ARGV[5], ARGV[6], ARGV[7]
local suspended = call('EXISTS', 'rq:suspended')

if call('HEXISTS', record, 'birth') == 0 or call('HEXISTS', record, 'death') == 1 then
    return { 0, suspended }
end
call('HSET', record, 'last_heartbeat', ts)
call('EXPIRE', 'fm:home:' .. worker, '604800')
if state ~= '' then
    call('HSET', record, 'state', state)
end
if not id then
    call('EXPIRE', record, '480')
    return { 1, suspended }
end
call('HSET', record, 'current_job_working_time', ARGV[8])
call('EXPIRE', record, int(interval + 60))
if not is_mine(id, queue, worker, execution) then
    return { 2, suspended }
end
-- Also into a record that was lost and is made anew: whoever follows must find the job.
call('HSET', record, 'current_job', id, 'fm_execution', execution, 'state', 'busy')
call('HSET', job_key(id), 'last_heartbeat', ts)
local ttl = math.floor(heartbeat_ttl(tonumber(ARGV[9]), tonumber(ARGV[8]), interval))
-- XX: an entry that somebody has removed must not come back.
call('ZADD', 'rq:wip:' .. queue, 'XX', int(now + ttl), id)
call('HSET', 'rq:execution:' .. id .. ':' .. execution, 'last_heartbeat', now_float)
keep_execution(id, worker, execution, ttl)
return { 1, suspended }
