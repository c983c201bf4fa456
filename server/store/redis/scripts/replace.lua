-- The record becomes a new one, if it still is the old one. KEYS: record. ARGV: old, new.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[2])
return 1
