-- groups.lua - ids of vanished jobs leave a group, an empty group the list of groups
-- (section 8). ARGV: group, cursor. The answer: the next cursor ("0": done), and how
-- many ids went.
local key = 'rq:group:' .. ARGV[1]
local page = call('SSCAN', key, ARGV[2], 'COUNT', '500')
local gone = 0

for _, id in ipairs(page[2]) do
    if call('EXISTS', job_key(id)) == 0 then
        gone = gone + call('SREM', key, id)
    end
end
if page[1] == '0' and call('EXISTS', key) == 0 then
    call('SREM', 'rq:groups', ARGV[1])
end
return { page[1], gone }
