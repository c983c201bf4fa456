-- Removes a session, if its record is still the old one; its tombstone expires after ARGV[2] seconds.
-- KEYS: record, tombstone, lender, all others. ARGV: old record, seconds or 0, the lender that stays or an empty string.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('UNLINK', KEYS[1])
remove_from(4)
if ARGV[3] ~= '' then
  redis.call('SET', KEYS[3], ARGV[3])
end
if ARGV[2] ~= '0' then
  redis.call('SET', KEYS[2], '1', 'EX', ARGV[2])
end
return 1
