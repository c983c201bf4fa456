-- A session leaves an index, if it was not put there anew since. KEYS: index. ARGV: member, score.
-- As numbers: the same score is written out in one way here and in another there.
local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
if score and tonumber(score) == tonumber(ARGV[2]) then
  redis.call('ZREM', KEYS[1], ARGV[1])
end
return 1
