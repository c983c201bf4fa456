-- Replaces the record, if it is still the old one. KEYS: record, keys to remove. ARGV: old, new.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
for i = 2, #KEYS do
  redis.call('UNLINK', KEYS[i])
end
redis.call('SET', KEYS[1], ARGV[2])
return 1
