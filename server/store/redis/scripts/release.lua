-- Ends the lease, if it is this one. KEYS: lease. ARGV: holder, epoch.
local held = redis.call('HMGET', KEYS[1], 'holder', 'epoch')
if held[1] == ARGV[1] and held[2] == ARGV[2] then
  redis.call('HSET', KEYS[1], 'until', '0')
  redis.call('HDEL', KEYS[1], 'wanted')
end
return 1
