-- claim.lua - ARGV: worker, execution, ts, heartbeat interval, queues ...
local answer = {}

claim({ worker = ARGV[1], execution = ARGV[2], ts = ARGV[3], interval = tonumber(ARGV[4]),
        queues_at = 5, own = read_worker(ARGV[1]) }, answer)
return answer
