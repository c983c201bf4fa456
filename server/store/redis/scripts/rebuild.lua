-- Resets a session to one that has read nothing: ends the lease and removes its memories.
-- KEYS: record, lease, the keys to remove.
-- ARGV: old record, new record.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('HDEL', KEYS[2], 'holder', 'until', 'wanted')
remove_from(3)
redis.call('SET', KEYS[1], ARGV[2])
return 1
