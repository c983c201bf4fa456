-- Appends a piece, if the record is still the one that the change was computed from.
-- KEYS: record, journal, pieces. ARGV: old record, new record, offset, piece, the piece's line,
-- the offset that the journal starts at, how many lines of trimmed pieces are kept.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('HSET', KEYS[2], ARGV[3], ARGV[4])
redis.call('ZADD', KEYS[3], ARGV[3], ARGV[5])
local trimmed = redis.call('ZCOUNT', KEYS[3], '-inf', '(' .. ARGV[6])
local surplus = math.min(trimmed, redis.call('ZCARD', KEYS[3]) - ARGV[7])
if surplus > 0 then
  redis.call('ZREMRANGEBYRANK', KEYS[3], 0, surplus - 1)
end
redis.call('SET', KEYS[1], ARGV[2])
return 1
