-- Removes a session from an index, unless its score has changed. KEYS: index. ARGV: member, score.
-- Compared as numbers: Redis versions write the same score differently.
local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
if score and tonumber(score) == tonumber(ARGV[2]) then
  redis.call('ZREM', KEYS[1], ARGV[1])
end
return 1
