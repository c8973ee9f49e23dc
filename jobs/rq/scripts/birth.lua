-- birth.lua - ARGV: worker, queues (joined by commas), count of fields, fields
-- and values ... Registers a worker, also one whose record was lost; what it runs
-- just now stays its own. RQ's name check is not needed: names are random.
local worker, queues = ARGV[1], ARGV[2]
local record = 'rq:worker:' .. worker
local running = call('HMGET', record, 'current_job', 'fm_execution')

call('DEL', record)
call('HSET', record, 'queues', queues, 'state', 'started')
for i = 3, #ARGV, 2 do
    call('HSET', record, ARGV[i], ARGV[i + 1])
end
if running[1] then
    call('HSET', record, 'current_job', running[1], 'fm_execution', running[2] or '',
         'state', 'busy')
end
call('SADD', 'rq:workers', record)
for queue in string.gmatch(queues, '[^,]+') do
    call('SADD', 'rq:workers:' .. queue, record)
end
call('EXPIRE', record, '480')
-- Where it lived, for whoever comes when its record and its executions have expired.
call('SET', 'fm:home:' .. worker, call('HGET', record, 'fm_home') or '', 'EX', '604800')
return 1
