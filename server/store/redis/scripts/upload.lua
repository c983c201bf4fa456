-- Writes a part again that is there already: it may be damaged, or about to expire. One that is kept stays kept.
-- KEYS: the part. ARGV: its bytes, after how many seconds it expires.
if redis.call('TTL', KEYS[1]) == -1 then
  redis.call('SET', KEYS[1], ARGV[1])
else
  redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
end
return 1
