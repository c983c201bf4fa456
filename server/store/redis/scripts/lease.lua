-- Takes the lease, unless another holder has it, by the clock of Redis. KEYS: record, lease.
-- ARGV: holder, microseconds, whether to ask the holder for it.
if redis.call('EXISTS', KEYS[1]) == 0 then
  return { 'missing' }
end
-- A full Redis refuses a script at its first write, unless that write takes no memory.
redis.call('PERSIST', KEYS[2])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local held = redis.call('HMGET', KEYS[2], 'holder', 'until', 'epoch')
-- A value that is not a whole number, or an hour ahead, is damage and ignored: by the clock the next epoch is higher.
local function whole(text)
  return string.match(text or '', '^%d%d?%d?%d?%d?%d?%d?%d?%d?%d?%d?%d?%d?%d?%d?%d?$') and tonumber(text) or 0
end
local left = whole(held[2]) - now
if held[1] and held[1] ~= ARGV[1] and left > 0 and left <= 3600000000 then
  if ARGV[3] == '1' then
    redis.call('HSET', KEYS[2], 'wanted', '1')
  end
  return { 'held', held[1] }
end
local epoch = string.format('%.0f', math.max(whole(held[3]) + 1, now))
redis.call('HSET', KEYS[2], 'holder', ARGV[1], 'until', string.format('%.0f', now + ARGV[2]), 'epoch', epoch)
redis.call('HDEL', KEYS[2], 'wanted')
return { 'taken', epoch }
