-- death.lua - ARGV: worker, ts.
bury(ARGV[1], ARGV[2])
return 1
