-- Whether there is no record, with a write behind which its absence is confirmed. KEYS: record, any other. ARGV: none.
if redis.call('EXISTS', KEYS[1]) == 1 then
  return 0
end
redis.call('SET', KEYS[2], '1', 'EX', '60')
return 1
