-- push.lua - ARGV: ts, jobs. See pushing.lua.
return push_jobs(2)
