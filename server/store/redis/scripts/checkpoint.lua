-- Makes an uploaded memory the newest checkpoint; removes the memories and the text that no kept checkpoint needs.
-- KEYS: record, lease, journal, pieces, the new memory, the keys to remove.
-- ARGV: old record, new record, holder, epoch, the journal's old and new start, how many lines of trimmed
-- pieces are kept, the memory's lengths.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 'moved'
end
local lease = redis.call('HMGET', KEYS[2], 'holder', 'epoch')
if lease[1] ~= ARGV[3] or lease[2] ~= ARGV[4] then
  return 'lease'
end
if not is_here(5, 8, #ARGV) then
  return 'parts'
end
remove_from(keep(5, 8, #ARGV))
for _, entry in ipairs(redis.call('ZRANGEBYSCORE', KEYS[4], ARGV[5], '(' .. ARGV[6])) do
  -- A damaged line with a wrong score must not remove a piece that is still needed.
  local start = string.match(entry, '^%d+')
  if start and tonumber(start) < tonumber(ARGV[6]) then
    redis.call('HDEL', KEYS[3], start)
  end
end
local trimmed = redis.call('ZCOUNT', KEYS[4], '-inf', '(' .. ARGV[6])
local surplus = math.min(trimmed, redis.call('ZCARD', KEYS[4]) - ARGV[7])
if surplus > 0 then
  redis.call('ZREMRANGEBYRANK', KEYS[4], 0, surplus - 1)
end
redis.call('SET', KEYS[1], ARGV[2])
return 'kept'
