-- shutdown.lua - ARGV: worker, ts. It was told to leave while it is busy: RQ shows since when.
local record = 'rq:worker:' .. ARGV[1]

if call('HEXISTS', record, 'birth') == 1 and call('HEXISTS', record, 'death') == 0 then
    call('HSET', record, 'shutdown_requested_date', ARGV[2])
    return 1
end
return 0
