-- cron.lua - the job of a cron entry, for one due time: by whichever server comes first,
-- and by no other. By Redis' own clock, since servers' clocks differ.
--
-- ARGV: ts, the entry's key, due time, how late it may still be (seconds), since when the
-- caller knows the entry, the job (see pushing.lua). Without a job: only a look, which
-- notes at its first time that what was due before is not made up for.
-- The answer: what became of it, Redis' time, the last due time that was served (or
-- passed over). What: "known", "early" (not due yet), "served" (by somebody before),
-- "late" (passed over), "pushed", "exists" (its job does).
local key, due, grace = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local last = tonumber(call('HGET', key, 'last_due') or '')

local function answer(what, last_due)
    return { what, int(now), int(last_due) }
end

-- An entry that nobody has for a year is forgotten.
local function note(...)
    call('HSET', key, ...)
    call('EXPIRE', key, int(YEAR + 35 * 86400))
end

if not ARGV[6] then
    if not last then
        last = now
        note('last_due', int(now))
    end
    return answer('known', last)
end
last = last or tonumber(ARGV[5])
if due > now then
    return answer('early', last)
elseif due <= last then
    return answer('served', last)
elseif now - due > grace then
    note('last_due', int(due), 'last_missed', int(due))
    return answer('late', due)
end
local pushed = push_jobs(6)
if pushed.err then
    return pushed
end
note('last_due', int(due), 'last_run', ARGV[1], 'last_job', pushed[2])
return answer(pushed[1], due)
