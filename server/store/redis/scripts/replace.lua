-- Replaces the record, if it is still the old one. KEYS: record, keys to remove. ARGV: old, new.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
-- A full Redis refuses a script at its first write, unless that write takes no memory.
redis.call('PERSIST', KEYS[1])
remove_from(2)
redis.call('SET', KEYS[1], ARGV[2])
return 1
