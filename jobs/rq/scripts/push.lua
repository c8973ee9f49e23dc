-- push.lua - puts new jobs into their queues; one whose hash exists is left alone.
--
-- ARGV, per job: id, queue, "1" for the front, count of fields and values, fields
-- and values ... The answer: how many were pushed.
local pushed = 0
local at = 1

while at <= #ARGV do
    local id, queue, front, count = ARGV[at], ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 3])
    if call('EXISTS', job_key(id)) == 0 then
        call('HSET', job_key(id), unpack(ARGV, at + 4, at + 3 + count))
        push(queue, id, front == '1')
        pushed = pushed + 1
    end
    at = at + 4 + count
end
return pushed
