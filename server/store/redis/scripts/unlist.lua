-- A session leaves an index, if it was not put there anew since. KEYS: index. ARGV: member, score.
if redis.call('ZSCORE', KEYS[1], ARGV[1]) == ARGV[2] then
  redis.call('ZREM', KEYS[1], ARGV[1])
end
return 1
