-- Ends the lease, if it is this one. KEYS: lease. ARGV: holder, epoch.
local held = redis.call('HMGET', KEYS[1], 'holder', 'epoch')
if held[1] == ARGV[1] and held[2] == ARGV[2] then
  -- The removal comes first: a full Redis refuses a script at its first write, unless that write takes no memory.
  redis.call('HDEL', KEYS[1], 'wanted')
  redis.call('HSET', KEYS[1], 'until', '0')
end
return 1
