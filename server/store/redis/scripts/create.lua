-- A new record, unless there is one. KEYS: record, then whatever an earlier session may have left. ARGV: record.
if redis.call('EXISTS', KEYS[1]) == 1 then
  return 0
end
for i = 2, #KEYS do
  redis.call('UNLINK', KEYS[i])
end
redis.call('SET', KEYS[1], ARGV[1])
return 1
