-- Rewinds a session to an uploaded memory: removes the text after it, and ends the lease.
-- KEYS: record, lease, journal, pieces, the new memory, the keys to remove.
-- ARGV: old record, new record, from where text is removed (0: all of it), the piece and its line that take its place
-- or two empty strings, the memory's lengths.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
if not is_here(5, 6, #ARGV) then
  return 'parts'
end
remove_from(keep(5, 6, #ARGV))
redis.call('HDEL', KEYS[2], 'holder', 'until', 'wanted')
if ARGV[3] == '0' then
  redis.call('UNLINK', KEYS[3], KEYS[4])
end
for _, line in ipairs(redis.call('ZRANGEBYSCORE', KEYS[4], ARGV[3], '+inf')) do
  -- As in checkpoint.lua, a damaged line with a wrong score must not remove a piece.
  local start = string.match(line, '^%d+')
  if start and tonumber(start) >= tonumber(ARGV[3]) then
    redis.call('HDEL', KEYS[3], start)
  end
end
redis.call('ZREMRANGEBYSCORE', KEYS[4], ARGV[3], '+inf')
if ARGV[5] ~= '' then
  redis.call('HSET', KEYS[3], ARGV[3], ARGV[4])
  redis.call('ZADD', KEYS[4], ARGV[3], ARGV[5])
end
redis.call('SET', KEYS[1], ARGV[2])
return 1
