-- Keeps an uploaded memory as a snapshot. KEYS: record, the memory.
-- ARGV: old record, new record, each part's length in bytes.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
if not are_here(KEYS[2], 3) then
  return 'parts'
end
redis.call('PERSIST', KEYS[2])
redis.call('SET', KEYS[1], ARGV[2])
return 1
