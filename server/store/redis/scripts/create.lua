-- Creates a record, unless there is one, with the memory that the session begins with, if any.
-- KEYS: record, the memory, keys that an earlier session may have left. ARGV: record, each part's length in bytes.
if redis.call('EXISTS', KEYS[1]) == 1 then
  return 0
end
if not are_here(KEYS[2], 2) then
  return 'parts'
end
redis.call('PERSIST', KEYS[2])
for i = 3, #KEYS do
  redis.call('UNLINK', KEYS[i])
end
redis.call('SET', KEYS[1], ARGV[1])
return 1
