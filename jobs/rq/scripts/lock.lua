-- lock.lua - the scheduler's locks, one per queue (9.1), and forkmark's own. Changed only
-- by their holder.
--
-- ARGV: what to do, own value, key, value to take over ("": none).
-- take: 1 held (also when it was before), or the holder's value.
-- drop: 1 released, 0 was not ours.
local what, own, key, from = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local holder = call('GET', key)

if what == 'drop' then
    return holder == own and call('DEL', key) or 0
end
if not holder or holder == own or (from ~= '' and holder == from) then
    call('SET', key, own, 'EX', '61')
    return 1
end
return holder
