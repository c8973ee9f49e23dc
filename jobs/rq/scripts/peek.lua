-- peek.lua - what jobs are, without taking them. ARGV: how many bytes, ids ...
-- Per id, flat: its status, how long its data is, and the data's first bytes.
local answer = {}

for i = 2, #ARGV do
    local own = redis.pcall('HMGET', job_key(ARGV[i]), 'status', 'data')
    local data = own[2] or ''
    answer[#answer + 1] = own[1] or ''
    answer[#answer + 1] = #data
    answer[#answer + 1] = string.sub(data, 1, tonumber(ARGV[1]))
end
return answer
