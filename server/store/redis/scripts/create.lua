-- Creates a record, unless there is one, with the memory that the session begins with, if any.
-- KEYS: record, the memory, keys that an earlier session may have left. ARGV: record, the memory's lengths.
if redis.call('EXISTS', KEYS[1]) == 1 then
  return 0
end
if not is_here(2, 2, #ARGV) then
  return 'parts'
end
remove_from(keep(2, 2, #ARGV))
redis.call('SET', KEYS[1], ARGV[1])
return 1
