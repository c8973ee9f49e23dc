-- empty.lua - every waiting job of a queue goes. ARGV: queue. How many.
local count = 0

while count < 10000 do
    local id = call('LPOP', 'rq:queue:' .. ARGV[1])
    if not id then
        break
    end
    call('DEL', job_key(id), job_key(id) .. ':dependents')
    count = count + 1
end
return count
