-- Renews the lease, if it is the latest one. KEYS: record, lease. ARGV: holder, epoch, microseconds.
if redis.call('EXISTS', KEYS[1]) == 0 then
  return 'missing'
end
local held = redis.call('HMGET', KEYS[2], 'holder', 'epoch')
if held[1] ~= ARGV[1] or held[2] ~= ARGV[2] then
  return 'lost'
end
-- A full Redis refuses a script at its first write, unless that write takes no memory.
redis.call('PERSIST', KEYS[2])
local time = redis.call('TIME')
redis.call('HSET', KEYS[2], 'until', string.format('%.0f', time[1] * 1000000 + time[2] + ARGV[3]))
return 'renewed'
