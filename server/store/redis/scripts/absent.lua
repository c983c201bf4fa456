-- Whether there is no record; if so, a write follows, so that WAITAOF confirms its absence.
-- KEYS: record, any other. ARGV: none.
if redis.call('EXISTS', KEYS[1]) == 1 then
  return 0
end
-- A full Redis refuses a script at its first write, unless that write takes no memory.
redis.call('PERSIST', KEYS[2])
redis.call('SET', KEYS[2], '1', 'EX', '60')
return 1
