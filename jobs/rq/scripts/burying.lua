-- burying.lua - bury(): takes a worker out of the books (protocol 6.9).
local function bury(worker, ts)
    local record = 'rq:worker:' .. worker

    call('SREM', 'rq:workers', record)
    for queue in string.gmatch(call('HGET', record, 'queues') or '', '[^,]+') do
        call('SREM', 'rq:workers:' .. queue, record)
    end
    call('DEL', record .. ':executions', 'fm:home:' .. worker)
    if call('EXISTS', record) == 1 then
        call('HDEL', record, 'current_job', 'fm_execution')
        call('HSET', record, 'death', ts)
        call('EXPIRE', record, '60')
    end
end
