-- live.lua - which bookmarks have a job on its way, and which had one that failed.
--
-- ARGV: count of queues, queues ..., bookmark ids ... The answer, per id: "live",
-- "failed" or "none". By J1's job ids, "bookmark_process_<bookmark>_<8 hex>".
local queue_count = tonumber(ARGV[1])
local states = {}

local function note(members, state)
    for _, id in ipairs(members) do
        local bookmark = string.match(id, '^bookmark_process_(%d+)_')
        if bookmark and states[bookmark] ~= 'live' then
            states[bookmark] = state
        end
    end
end

for i = 2, 1 + queue_count do
    local queue = ARGV[i]
    note(call('ZRANGE', 'rq:failed:' .. queue, 0, -1), 'failed')
    note(call('LRANGE', 'rq:queue:' .. queue, 0, -1), 'live')
    note(call('ZRANGE', 'rq:wip:' .. queue, 0, -1), 'live')
    note(call('ZRANGE', 'rq:scheduled:' .. queue, 0, -1), 'live')
end

local answer = {}
for i = 2 + queue_count, #ARGV do
    answer[#answer + 1] = states[ARGV[i]] or 'none'
end
return answer
