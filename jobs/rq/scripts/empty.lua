-- empty.lua - every waiting job of a queue goes. ARGV: queue. How many.
local count = 0

while count < 10000 do
    local id = call('LPOP', 'rq:queue:' .. ARGV[1])
    if not id then
        break
    end
    lifetime(id, 0)
    count = count + 1
end
return count
