-- The record becomes a new one, if it still is the old one. KEYS: record, what goes with the old one. ARGV: old, new.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
for i = 2, #KEYS do
  redis.call('UNLINK', KEYS[i])
end
redis.call('SET', KEYS[1], ARGV[2])
return 1
